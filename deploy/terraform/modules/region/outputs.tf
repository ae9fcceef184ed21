output "balancer" {
  description = "The load balancer, for the records of the module global."
  value       = { dns_name = aws_lb.region.dns_name, zone_id = aws_lb.region.zone_id }
}

output "alarm_name" {
  description = "The region's own alarm, for the health checks of the module global."
  value       = aws_cloudwatch_metric_alarm.lag.alarm_name
}

output "network" {
  description = "Where nodes run: the VPC, their subnets, one in each zone, and their security group."
  value = {
    vpc_id            = aws_vpc.region.id
    node_subnet_ids   = [for subnet in aws_subnet.nodes : subnet.id]
    security_group_id = aws_security_group.nodes.id
    addresses         = [for address in aws_eip.way_out : address.public_ip]
  }
}

output "target_groups" {
  description = "Target groups that nodes register in, by IP address, for http and for live."
  value       = { for name, group in aws_lb_target_group.nodes : name => group.arn }
}

output "archive_policy_arn" {
  description = "IAM policy that the role of nodes needs."
  value       = aws_iam_policy.nodes.arn
}

output "database_secret_arn" {
  description = "Secret with the password of the database's owner, who makes the user of the nodes."
  value       = aws_db_instance.region.master_user_secret[0].secret_arn
}

locals {
  database_query = "sslmode=verify-full&sslrootcert=${var.database.ca_path}"
  replica_url    = one([for replica in slice(aws_db_instance.replica, 0, min(1, var.database.replicas)) : "postgresql://rankwire@${replica.address}:5432/rankwire?${local.database_query}"])
}

output "settings" {
  description = "Settings of nodes as environment variables, for Helm. Passwords are not among them."
  value = merge({
    RANKWIRE_HTTP_HOST        = "0.0.0.0"
    RANKWIRE_HTTP_PORT        = tostring(local.ports.http)
    RANKWIRE_LIVE_HOST        = "0.0.0.0"
    RANKWIRE_LIVE_PORT        = tostring(local.ports.live)
    RANKWIRE_STORAGE_URL      = "postgresql://rankwire@${aws_db_instance.region.address}:5432/rankwire?${local.database_query}"
    RANKWIRE_OPS_ARCHIVE_URL  = "s3://${aws_s3_bucket.archive.id}/journal?region=${data.aws_region.here.name}"
    RANKWIRE_OPS_DATABASE_SKU = "rds-pg:${var.database.class}"
    RANKWIRE_OPS_REDIS_SKU    = "cache-redis:${var.cache.type}"
    RANKWIRE_AUTH_MODE        = "keys"
    RANKWIRE_REGIONS_NAME     = var.name
    RANKWIRE_REGIONS_MODE     = var.mode
    RANKWIRE_REGIONS_PRIMARY  = var.primary
    RANKWIRE_REGIONS_PEERS    = join(" ", [for peer in sort(tolist(var.peers)) : "${peer}=https://${peer}.${var.domain}"])
  }, local.replica_url == null ? {} : { RANKWIRE_STORAGE_REPLICA_URL = local.replica_url })
}

output "secret_settings" {
  description = "Settings with passwords in them, for a Secret. RANKWIRE_REGIONS_SECRET and PGPASSWORD are yours to add."
  sensitive   = true
  value = {
    RANKWIRE_REDIS_URL = "rediss://:${var.cache_token}@${aws_elasticache_replication_group.region.primary_endpoint_address}:6379"
  }
}
