data "aws_region" "here" {
  lifecycle {
    postcondition {
      condition     = self.name == "us-east-1"
      error_message = "The provider of this module must be in us-east-1: CloudWatch has the figures of Route 53 only there."
    }
  }
}

locals {
  tags = merge(var.tags, { Service = "rankwire", Component = "dns" })
}

resource "aws_route53_zone" "service" {
  name    = var.domain
  comment = "Rankwire: which region answers"
  tags    = local.tags

  # A new zone has other name servers: until the parent delegates to them, nobody resolves.
  lifecycle {
    prevent_destroy = true
  }
}
