# One name and one port for both: live connections go by their path.

resource "aws_lb" "region" {
  name                       = local.prefix
  load_balancer_type         = "application"
  subnets                    = [for subnet in aws_subnet.public : subnet.id]
  security_groups            = [aws_security_group.balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = true
  # Longer than the pings of live connections are apart, and than a failover may take.
  idle_timeout = 360

  tags = merge(local.tags, { Component = "balancer" })
}

locals {
  targets = {
    http = { port = local.ports.http, health = "/readyz" }
    live = { port = local.ports.live, health = "/healthz" }
  }
}

resource "aws_lb_target_group" "nodes" {
  for_each = local.targets

  name        = "${local.prefix}-${each.key}"
  vpc_id      = aws_vpc.region.id
  target_type = "ip"
  protocol    = "HTTP"
  port        = each.value.port
  # Longer than a node that stops takes to send its watchers away (live.drain_seconds).
  deregistration_delay = 30

  health_check {
    path                = each.value.health
    matcher             = "200"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  tags = merge(local.tags, { Component = "balancer" })
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.region.arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate_validation.region.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.nodes["http"].arn
  }

  tags = merge(local.tags, { Component = "balancer" })
}

resource "aws_lb_listener_rule" "live" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 10

  condition {
    path_pattern {
      values = ["/connection/websocket"]
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.nodes["live"].arn
  }

  tags = merge(local.tags, { Component = "balancer" })
}

locals {
  # A rule takes five values, and two of them are paths.
  trusted = { for index, few in chunklist(var.trusted_cidrs, 3) : index => few }
}

# Other regions and operators ask here; whoever else has no business with it, secret or not.
resource "aws_lb_listener_rule" "regions" {
  for_each = local.trusted

  listener_arn = aws_lb_listener.https.arn
  priority     = 20 + each.key

  condition {
    path_pattern {
      values = ["/v1/regions", "/v1/regions/*"]
    }
  }

  condition {
    source_ip {
      values = each.value
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.nodes["http"].arn
  }

  tags = merge(local.tags, { Component = "balancer" })
}

# What only the machines inside should read, and of that of regions who comes from elsewhere.
resource "aws_lb_listener_rule" "inside" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 90

  condition {
    path_pattern {
      values = ["/metrics", "/v1/digest", "/v1/ops/*", "/v1/regions", "/v1/regions/*"]
    }
  }

  action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }

  tags = merge(local.tags, { Component = "balancer" })
}
