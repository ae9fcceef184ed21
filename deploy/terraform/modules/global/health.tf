# A region gets answers while two checks are both content: what people see from outside, and what
# the region says of itself.

resource "aws_route53_health_check" "http" {
  for_each = var.regions

  # Asked at the load balancer itself, not at a name of this zone: the check must not depend on
  # what it decides. Route 53 does not compare the certificate with the name.
  type              = "HTTPS"
  fqdn              = each.value.balancer.dns_name
  port              = 443
  resource_path     = "/health"
  enable_sni        = true
  request_interval  = 10
  failure_threshold = 3
  measure_latency   = true

  tags = merge(local.tags, { Name = "${var.domain} ${each.key} /health", Region = each.key })
}

resource "aws_route53_health_check" "own" {
  for_each = var.regions

  # A figure that is missing must not take a region out: whoever is dead fails the other check.
  type                            = "CLOUDWATCH_METRIC"
  cloudwatch_alarm_name           = each.value.alarm_name
  cloudwatch_alarm_region         = each.value.aws_region
  insufficient_data_health_status = "Healthy"

  tags = merge(local.tags, { Name = "${var.domain} ${each.key} own figures", Region = each.key })
}

resource "aws_route53_health_check" "region" {
  for_each = var.regions

  type                   = "CALCULATED"
  child_health_threshold = 2
  child_healthchecks = [
    aws_route53_health_check.http[each.key].id,
    aws_route53_health_check.own[each.key].id,
  ]

  tags = merge(local.tags, { Name = "${var.domain} ${each.key}", Region = each.key })
}

resource "aws_cloudwatch_metric_alarm" "region" {
  for_each = var.regions

  alarm_name          = "rankwire ${var.domain} ${each.key} is out"
  alarm_description   = "Route 53 answers without region ${each.key}: /health fails, or its own figures are bad."
  namespace           = "AWS/Route53"
  metric_name         = "HealthCheckStatus"
  dimensions          = { HealthCheckId = aws_route53_health_check.region[each.key].id }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]
  ok_actions          = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]

  tags = merge(local.tags, { Region = each.key })
}
