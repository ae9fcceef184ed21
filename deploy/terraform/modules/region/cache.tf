resource "aws_elasticache_subnet_group" "region" {
  name       = local.prefix
  subnet_ids = [for subnet in aws_subnet.data : subnet.id]
  tags       = merge(local.tags, { Component = "cache" })
}

# Nothing in it has to survive: it carries news between nodes.
resource "aws_elasticache_replication_group" "region" {
  replication_group_id = local.prefix
  description          = "Rankwire ${var.name}: news between nodes"
  engine               = "redis"
  engine_version       = "7.1"
  node_type            = var.cache.type
  num_cache_clusters   = var.cache.nodes
  port                 = 6379

  multi_az_enabled           = true
  automatic_failover_enabled = true
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = var.cache_token
  subnet_group_name          = aws_elasticache_subnet_group.region.name
  security_group_ids         = [aws_security_group.cache.id]
  apply_immediately          = false

  tags = merge(local.tags, { Component = "cache" })
}
