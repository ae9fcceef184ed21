resource "aws_route53_record" "service" {
  for_each = var.regions

  zone_id         = aws_route53_zone.service.zone_id
  name            = var.domain
  type            = "A"
  set_identifier  = each.key
  health_check_id = aws_route53_health_check.region[each.key].id

  alias {
    name                   = each.value.balancer.dns_name
    zone_id                = each.value.balancer.zone_id
    evaluate_target_health = true
  }

  dynamic "failover_routing_policy" {
    for_each = var.policy == "failover" ? [each.value.role] : []

    content {
      type = failover_routing_policy.value
    }
  }

  dynamic "latency_routing_policy" {
    for_each = var.policy == "latency" ? [each.value.aws_region] : []

    content {
      region = latency_routing_policy.value
    }
  }

  dynamic "weighted_routing_policy" {
    for_each = var.policy == "weighted" ? [each.value.weight] : []

    content {
      weight = weighted_routing_policy.value
    }
  }
}
