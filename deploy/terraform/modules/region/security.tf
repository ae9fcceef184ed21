# Who may speak to whom: clients to the load balancer, that to nodes, nodes to data and to the
# other regions. Nothing else.

locals {
  ports = { http = 7700, live = 7701 }
}

resource "aws_security_group" "balancer" {
  name        = "${local.prefix}-balancer"
  description = "Load balancer of Rankwire"
  vpc_id      = aws_vpc.region.id

  tags = merge(local.tags, { Name = "${local.prefix}-balancer", Component = "network" })
}

resource "aws_security_group" "nodes" {
  name        = "${local.prefix}-nodes"
  description = "Nodes of Rankwire"
  vpc_id      = aws_vpc.region.id

  tags = merge(local.tags, { Name = "${local.prefix}-nodes", Component = "network" })
}

resource "aws_security_group" "database" {
  name        = "${local.prefix}-database"
  description = "PostgreSQL of Rankwire"
  vpc_id      = aws_vpc.region.id

  tags = merge(local.tags, { Name = "${local.prefix}-database", Component = "network" })
}

resource "aws_security_group" "cache" {
  name        = "${local.prefix}-cache"
  description = "Redis of Rankwire"
  vpc_id      = aws_vpc.region.id

  tags = merge(local.tags, { Name = "${local.prefix}-cache", Component = "network" })
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = var.client_cidrs

  security_group_id = aws_security_group.balancer.id
  description       = "Clients"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  for_each = local.ports

  security_group_id            = aws_security_group.balancer.id
  description                  = "Nodes, ${each.key}"
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "nodes" {
  for_each = local.ports

  security_group_id            = aws_security_group.nodes.id
  description                  = "Load balancer, ${each.key}"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "nodes_out" {
  security_group_id = aws_security_group.nodes.id
  description       = "Other regions and services of AWS, over TLS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}

locals {
  stores = {
    database = { group = aws_security_group.database.id, port = 5432 }
    cache    = { group = aws_security_group.cache.id, port = 6379 }
  }
}

resource "aws_vpc_security_group_egress_rule" "stores" {
  for_each = local.stores

  security_group_id            = aws_security_group.nodes.id
  description                  = "The ${each.key}"
  referenced_security_group_id = each.value.group
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "stores" {
  for_each = local.stores

  security_group_id            = each.value.group
  description                  = "Nodes"
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.tags
}
