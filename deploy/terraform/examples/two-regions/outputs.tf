output "name_servers" {
  description = "The parent of the domain must delegate to these."
  value       = module.global.name_servers
}

output "nodes" {
  description = "What Helm needs for the nodes of each region."
  value = {
    for name, region in local.made : name => {
      network             = region.network
      target_groups       = region.target_groups
      archive_policy_arn  = region.archive_policy_arn
      database_secret_arn = region.database_secret_arn
      settings            = region.settings
    }
  }
}

output "secret_settings" {
  description = "Settings of nodes with passwords in them, of each region."
  sensitive   = true
  value       = { for name, region in local.made : name => region.secret_settings }
}
