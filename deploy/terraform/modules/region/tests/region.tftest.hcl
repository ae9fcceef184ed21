# What a region is made of, without an account.

mock_provider "aws" {
  source          = "../../mocks/region"
  override_during = plan
}

override_resource {
  target          = aws_security_group.balancer
  override_during = plan
  values          = { id = "sg-balancer" }
}

override_resource {
  target          = aws_security_group.nodes
  override_during = plan
  values          = { id = "sg-nodes" }
}

override_resource {
  target          = aws_security_group.database
  override_during = plan
  values          = { id = "sg-database" }
}

override_resource {
  target          = aws_security_group.cache
  override_during = plan
  values          = { id = "sg-cache" }
}

variables {
  name          = "eu"
  peers         = ["us", "ap"]
  primary       = "eu"
  domain        = "scores.example.com"
  zone_id       = "Z0SERVICE"
  cidr          = "10.1.0.0/16"
  trusted_cidrs = ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "198.51.100.0/24"]
  cache_token   = "0123456789abcdef0123456789abcdef"
  tags          = { CostCenter = "games", Environment = "test" }
}

run "three_zones_of_three_subnets" {
  command = plan

  assert {
    condition     = keys(aws_subnet.public) == ["eu-central-1a", "eu-central-1b", "eu-central-1c"] && keys(aws_subnet.nodes) == keys(aws_subnet.public) && keys(aws_subnet.data) == keys(aws_subnet.public)
    error_message = "Each kind of subnet must be in three zones."
  }

  assert {
    condition     = length(distinct(concat([for subnet in aws_subnet.public : subnet.cidr_block], [for subnet in aws_subnet.nodes : subnet.cidr_block], [for subnet in aws_subnet.data : subnet.cidr_block]))) == 9
    error_message = "Each subnet must have addresses of its own."
  }

  assert {
    condition     = length(aws_nat_gateway.way_out) == 3 && length(aws_route_table.nodes) == 3
    error_message = "Each zone must have a way out of its own for nodes."
  }
}

run "groups_let_in_no_more_than_needed" {
  command = plan

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.clients : [rule.security_group_id, rule.cidr_ipv4, rule.from_port, rule.to_port]] == [["sg-balancer", "0.0.0.0/0", 443, 443]]
    error_message = "The world reaches the load balancer, over TLS only."
  }

  assert {
    condition     = { for name, rule in aws_vpc_security_group_ingress_rule.nodes : name => [rule.security_group_id, rule.referenced_security_group_id, rule.cidr_ipv4 == null, rule.from_port, rule.to_port] } == { http = ["sg-nodes", "sg-balancer", true, 7700, 7700], live = ["sg-nodes", "sg-balancer", true, 7701, 7701] }
    error_message = "Nodes hear the load balancer only."
  }

  assert {
    condition     = { for name, rule in aws_vpc_security_group_egress_rule.balancer : name => [rule.security_group_id, rule.referenced_security_group_id, rule.from_port, rule.to_port] } == { http = ["sg-balancer", "sg-nodes", 7700, 7700], live = ["sg-balancer", "sg-nodes", 7701, 7701] }
    error_message = "The load balancer speaks to nodes only."
  }

  assert {
    condition     = { for name, rule in aws_vpc_security_group_ingress_rule.stores : name => [rule.security_group_id, rule.referenced_security_group_id, rule.cidr_ipv4 == null, rule.from_port, rule.to_port] } == { database = ["sg-database", "sg-nodes", true, 5432, 5432], cache = ["sg-cache", "sg-nodes", true, 6379, 6379] }
    error_message = "Data hear nodes only."
  }

  assert {
    condition     = { for name, rule in aws_vpc_security_group_egress_rule.stores : name => [rule.security_group_id, rule.referenced_security_group_id, rule.from_port] } == { database = ["sg-nodes", "sg-database", 5432], cache = ["sg-nodes", "sg-cache", 6379] } && aws_vpc_security_group_egress_rule.nodes_out.security_group_id == "sg-nodes" && aws_vpc_security_group_egress_rule.nodes_out.from_port == 443 && aws_vpc_security_group_egress_rule.nodes_out.to_port == 443
    error_message = "Nodes speak to data, and to the world over TLS only."
  }
}

run "one_door_with_tls" {
  command = plan

  assert {
    condition     = aws_lb_listener.https.protocol == "HTTPS" && aws_lb_listener.https.port == 443 && aws_lb_listener.https.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06" && !aws_lb.region.internal && aws_lb.region.enable_deletion_protection && aws_lb.region.security_groups == toset(["sg-balancer"])
    error_message = "The listener must speak TLS."
  }

  assert {
    condition     = { for name, group in aws_lb_target_group.nodes : name => [group.port, group.target_type, group.health_check[0].path] } == { http = [7700, "ip", "/readyz"], live = [7701, "ip", "/healthz"] }
    error_message = "HTTP and live connections have targets and checks of their own."
  }

  assert {
    condition     = one(one(aws_lb_listener_rule.live.condition).path_pattern).values == toset(["/connection/websocket"]) && one(one(aws_lb_listener_rule.inside.condition).path_pattern).values == toset(["/metrics", "/v1/digest", "/v1/ops/*", "/v1/regions", "/v1/regions/*"]) && aws_lb_listener_rule.inside.action[0].fixed_response[0].status_code == "404"
    error_message = "Live connections go by their path, and figures stay inside."
  }

  assert {
    condition     = sort(flatten([for rule in aws_lb_listener_rule.regions : [for each in rule.condition : each.source_ip[0].values if length(each.source_ip) > 0]])) == var.trusted_cidrs && alltrue([for rule in aws_lb_listener_rule.regions : rule.priority < aws_lb_listener_rule.inside.priority && sum([for each in rule.condition : length(each.source_ip) > 0 ? length(each.source_ip[0].values) : length(each.path_pattern[0].values)]) <= 5])
    error_message = "Only who is trusted may ask about regions, and no rule may have more than five values."
  }

  assert {
    condition     = aws_acm_certificate.region.domain_name == "scores.example.com" && aws_acm_certificate.region.subject_alternative_names == toset(["eu.scores.example.com"]) && aws_route53_record.region.name == "eu.scores.example.com" && aws_route53_record.region.alias[0].name == aws_lb.region.dns_name && aws_route53_record.region.records == null
    error_message = "The certificate is for the service and for the region, whose name is an alias."
  }
}

run "data_survive" {
  command = plan

  assert {
    condition     = aws_db_instance.region.multi_az && aws_db_instance.region.storage_encrypted && aws_db_instance.region.deletion_protection && !aws_db_instance.region.skip_final_snapshot && !aws_db_instance.region.publicly_accessible && aws_db_instance.region.backup_retention_period == 14 && aws_db_instance.region.manage_master_user_password && length(aws_db_instance.replica) == 0
    error_message = "PostgreSQL must be in two zones, encrypted, backed up and not to be deleted by mistake."
  }

  assert {
    condition     = one(aws_db_parameter_group.region.parameter).name == "rds.force_ssl" && one(aws_db_parameter_group.region.parameter).value == "1"
    error_message = "PostgreSQL must refuse connections without TLS."
  }

  assert {
    condition     = aws_elasticache_replication_group.region.multi_az_enabled && aws_elasticache_replication_group.region.automatic_failover_enabled && aws_elasticache_replication_group.region.transit_encryption_enabled && aws_elasticache_replication_group.region.at_rest_encryption_enabled && aws_elasticache_replication_group.region.num_cache_clusters == 3
    error_message = "Redis must fail over by itself and speak TLS."
  }

  assert {
    condition     = [for step in aws_s3_bucket_lifecycle_configuration.archive.rule[0].transition : [step.days, step.storage_class]] == [[30, "STANDARD_IA"], [120, "GLACIER_IR"]] || [for step in aws_s3_bucket_lifecycle_configuration.archive.rule[0].transition : [step.days, step.storage_class]] == [[120, "GLACIER_IR"], [30, "STANDARD_IA"]]
    error_message = "Archives must move to cheaper storage."
  }

  assert {
    condition     = aws_s3_bucket_versioning.archive.versioning_configuration[0].status == "Enabled" && aws_s3_bucket_public_access_block.archive.block_public_policy && aws_s3_bucket_public_access_block.archive.block_public_acls && aws_s3_bucket_public_access_block.archive.ignore_public_acls && aws_s3_bucket_public_access_block.archive.restrict_public_buckets
    error_message = "The archive must be private, and keep what is overwritten."
  }
}

run "its_own_alarm_is_deaf_to_dead_peers" {
  command = plan

  assert {
    condition     = one([for query in aws_cloudwatch_metric_alarm.lag.metric_query : query.expression if query.id == "lag"]) == "MAX([IF(up0 > 0, lag0, 0), IF(up1 > 0, lag1, 0)])" && aws_cloudwatch_metric_alarm.lag.threshold == 30 && aws_cloudwatch_metric_alarm.lag.treat_missing_data == "notBreaching"
    error_message = "Only peers that are heard from may take the region out."
  }

  assert {
    condition     = toset([for query in aws_cloudwatch_metric_alarm.lag.metric_query : "${query.id} ${query.metric[0].metric_name} ${query.metric[0].dimensions["Home"]} ${query.metric[0].dimensions["region"]}" if length(query.metric) > 0]) == toset(["lag0 rankwire_region_lag_seconds eu ap", "lag1 rankwire_region_lag_seconds eu us", "up0 rankwire_region_link_up eu ap", "up1 rankwire_region_link_up eu us"])
    error_message = "Both figures of each peer must be asked for."
  }
}

run "helm_gets_settings" {
  command = plan

  assert {
    condition = output.settings == {
      RANKWIRE_HTTP_HOST        = "0.0.0.0"
      RANKWIRE_HTTP_PORT        = "7700"
      RANKWIRE_LIVE_HOST        = "0.0.0.0"
      RANKWIRE_LIVE_PORT        = "7701"
      RANKWIRE_STORAGE_URL      = "postgresql://rankwire@db.example.com:5432/rankwire?sslmode=verify-full&sslrootcert=/etc/rankwire/rds.pem"
      RANKWIRE_OPS_ARCHIVE_URL  = "s3://archive/journal?region=eu-central-1"
      RANKWIRE_OPS_DATABASE_SKU = "rds-pg:db.m6g.xlarge"
      RANKWIRE_OPS_REDIS_SKU    = "cache-redis:cache.r7g.large"
      RANKWIRE_AUTH_MODE        = "keys"
      RANKWIRE_REGIONS_NAME     = "eu"
      RANKWIRE_REGIONS_MODE     = "active-active"
      RANKWIRE_REGIONS_PRIMARY  = "eu"
      RANKWIRE_REGIONS_PEERS    = "ap=https://ap.scores.example.com us=https://us.scores.example.com"
    }
    error_message = "Nodes need these settings."
  }

  assert {
    condition     = output.secret_settings == { RANKWIRE_REDIS_URL = "rediss://:0123456789abcdef0123456789abcdef@redis.example.com:6379" }
    error_message = "The address of Redis has its password."
  }

  assert {
    condition     = output.balancer == { dns_name = "eu-1.eu-central-1.elb.amazonaws.com", zone_id = "Z0EU" } && output.alarm_name == "rankwire-eu-lag" && keys(output.target_groups) == ["http", "live"]
    error_message = "The module global needs these."
  }
}

run "replicas_are_read_from" {
  command = plan

  variables {
    database = { replicas = 2 }
  }

  assert {
    condition     = length(aws_db_instance.replica) == 2 && output.settings["RANKWIRE_STORAGE_REPLICA_URL"] == output.settings["RANKWIRE_STORAGE_URL"]
    error_message = "With replicas, nodes must know of one. (All databases have one address here.)"
  }
}

run "costs_can_be_told_apart" {
  command = plan

  assert {
    condition     = { for part, tags in { network = aws_vpc.region.tags, balancer = aws_lb.region.tags, database = aws_db_instance.region.tags, cache = aws_elasticache_replication_group.region.tags, archive = aws_s3_bucket.archive.tags } : part => "${tags["CostCenter"]} ${tags["Environment"]} ${tags["Service"]} ${tags["Region"]} ${tags["Component"]}" } == { for part in ["network", "balancer", "database", "cache", "archive"] : part => "games test rankwire eu ${part}" }
    error_message = "What costs must have the tags that bills are split by."
  }
}
