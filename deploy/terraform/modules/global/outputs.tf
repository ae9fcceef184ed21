output "domain" {
  description = "Name of the service."
  value       = var.domain
}

output "zone_id" {
  description = "The zone, for the names of single regions and the proofs of certificates."
  value       = aws_route53_zone.service.zone_id
}

output "name_servers" {
  description = "Name servers that the parent of the domain must delegate to."
  value       = aws_route53_zone.service.name_servers
}

output "health_checks" {
  description = "The check of each region that decides about its answers."
  value       = { for name, check in aws_route53_health_check.region : name => check.id }
}

output "alarms" {
  description = "The alarm of each region that says that it is out."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.region : name => alarm.arn }
}
