# The region's own name, which the other regions use, and a certificate for it and the service's.

locals {
  host = "${var.name}.${var.domain}"
}

# Without a health check on purpose: peers must reach a region that clients are kept away from.
resource "aws_route53_record" "region" {
  zone_id = var.zone_id
  name    = local.host
  type    = "A"

  alias {
    name                   = aws_lb.region.dns_name
    zone_id                = aws_lb.region.zone_id
    evaluate_target_health = false
  }
}

resource "aws_acm_certificate" "region" {
  domain_name               = var.domain
  subject_alternative_names = [local.host]
  validation_method         = "DNS"

  lifecycle {
    create_before_destroy = true
  }

  tags = merge(local.tags, { Name = local.host, Component = "balancer" })
}

resource "aws_route53_record" "proof" {
  for_each = {
    for option in aws_acm_certificate.region.domain_validation_options : option.domain_name => option
  }

  zone_id = var.zone_id
  name    = each.value.resource_record_name
  type    = each.value.resource_record_type
  records = [each.value.resource_record_value]
  ttl     = 300
  # All regions prove the service's name with one record.
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "region" {
  certificate_arn         = aws_acm_certificate.region.arn
  validation_record_fqdns = [for record in aws_route53_record.proof : record.fqdn]
}
