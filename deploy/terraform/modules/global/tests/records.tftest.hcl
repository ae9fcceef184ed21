# What each policy makes, without an account: every record has a check and a load balancer.

mock_provider "aws" {
  override_during = plan

  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }

  mock_resource "aws_route53_zone" {
    defaults = { zone_id = "Z0SERVICE" }
  }
}

override_resource {
  target          = aws_route53_health_check.http
  override_during = plan
  values          = { id = "http" }
}

override_resource {
  target          = aws_route53_health_check.own
  override_during = plan
  values          = { id = "own" }
}

override_resource {
  target          = aws_route53_health_check.region
  override_during = plan
  values          = { id = "region" }
}

variables {
  domain = "scores.example.com"
  tags   = { CostCenter = "games", Environment = "test" }
  regions = {
    eu = {
      aws_region = "eu-central-1"
      cidr       = "10.1.0.0/16"
      balancer   = { dns_name = "eu-1.eu-central-1.elb.amazonaws.com", zone_id = "Z0EU" }
      alarm_name = "rankwire-eu-lag"
    }
    us = {
      aws_region = "us-east-1"
      cidr       = "10.2.0.0/16"
      balancer   = { dns_name = "us-1.us-east-1.elb.amazonaws.com", zone_id = "Z0US" }
      alarm_name = "rankwire-us-lag"
    }
    ap = {
      aws_region = "ap-southeast-2"
      cidr       = "10.3.0.0/16"
      balancer   = { dns_name = "ap-1.ap-southeast-2.elb.amazonaws.com", zone_id = "Z0AP" }
      alarm_name = "rankwire-ap-lag"
    }
  }
}

run "latency_is_the_default" {
  command = plan

  assert {
    condition     = { for name, record in aws_route53_record.service : name => record.latency_routing_policy[0].region } == { eu = "eu-central-1", us = "us-east-1", ap = "ap-southeast-2" }
    error_message = "Each region must answer those who are nearest to it."
  }

  assert {
    condition     = alltrue([for record in aws_route53_record.service : length(record.failover_routing_policy) == 0 && length(record.weighted_routing_policy) == 0])
    error_message = "A record has one policy."
  }
}

run "every_record_has_a_check_and_no_address" {
  command = plan

  assert {
    condition     = keys(aws_route53_record.service) == ["ap", "eu", "us"] && alltrue([for record in aws_route53_record.service : record.health_check_id == "region"])
    error_message = "Every record must have the calculated check of its region."
  }

  assert {
    condition     = alltrue([for record in aws_route53_record.service : record.records == null && record.ttl == null])
    error_message = "No record may name an address."
  }

  assert {
    condition     = alltrue([for name, record in aws_route53_record.service : record.alias[0].name == var.regions[name].balancer.dns_name && record.alias[0].zone_id == var.regions[name].balancer.zone_id && record.alias[0].evaluate_target_health])
    error_message = "Every record must be an alias of its region's load balancer, and look at the targets of it."
  }

  assert {
    condition     = alltrue([for name, record in aws_route53_record.service : record.name == "scores.example.com" && record.type == "A" && record.set_identifier == name && record.zone_id == "Z0SERVICE"])
    error_message = "All records have one name and identifiers of their own."
  }
}

run "checks_are_fast_and_ask_both_sides" {
  command = plan

  assert {
    condition     = alltrue([for name, check in aws_route53_health_check.http : check.type == "HTTPS" && check.port == 443 && check.resource_path == "/health" && check.request_interval == 10 && check.failure_threshold == 3 && check.enable_sni && check.fqdn == var.regions[name].balancer.dns_name])
    error_message = "Every region is asked for /health over HTTPS each 10 s, and is out after 3 failures."
  }

  assert {
    condition     = alltrue([for name, check in aws_route53_health_check.own : check.type == "CLOUDWATCH_METRIC" && check.cloudwatch_alarm_name == var.regions[name].alarm_name && check.cloudwatch_alarm_region == var.regions[name].aws_region && check.insufficient_data_health_status == "Healthy"])
    error_message = "Every region's own alarm must count, and its absence must not."
  }

  assert {
    condition     = alltrue([for check in aws_route53_health_check.region : check.type == "CALCULATED" && check.child_health_threshold == 2 && check.child_healthchecks == toset(["http", "own"])])
    error_message = "A region is well only if both checks are."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.region : alarm.dimensions == tomap({ HealthCheckId = "region" }) && alarm.threshold == 1 && alarm.comparison_operator == "LessThanThreshold" && alarm.treat_missing_data == "breaching" && length(alarm.alarm_actions) == 0])
    error_message = "Every region has an alarm, which tells nobody unless there is a topic."
  }
}

run "costs_can_be_told_apart" {
  command = plan

  assert {
    condition     = alltrue([for name, check in aws_route53_health_check.region : check.tags["CostCenter"] == "games" && check.tags["Environment"] == "test" && check.tags["Service"] == "rankwire" && check.tags["Region"] == name])
    error_message = "Everything has the tags that bills are split by."
  }
}

run "alarms_go_to_the_topic" {
  command = plan

  variables {
    alarm_topic_arn = "arn:aws:sns:us-east-1:123456789012:operators"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.region : alarm.alarm_actions == toset([var.alarm_topic_arn]) && alarm.ok_actions == toset([var.alarm_topic_arn])])
    error_message = "The topic must hear of both ways."
  }
}

run "weighted_has_standbys" {
  command = plan

  variables {
    policy = "weighted"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", weight = 255, balancer = { dns_name = "eu.elb.example.com", zone_id = "Z0EU" }, alarm_name = "a" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", weight = 0, balancer = { dns_name = "us.elb.example.com", zone_id = "Z0US" }, alarm_name = "b" }
    }
  }

  assert {
    condition     = { for name, record in aws_route53_record.service : name => record.weighted_routing_policy[0].weight } == { eu = 255, us = 0 }
    error_message = "Weights must be as they are given, 0 included."
  }

  assert {
    condition     = alltrue([for record in aws_route53_record.service : record.health_check_id == "region" && length(record.latency_routing_policy) == 0 && length(record.failover_routing_policy) == 0])
    error_message = "Standbys have checks too, and one policy."
  }
}

run "failover_has_one_primary" {
  command = plan

  variables {
    policy = "failover"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", role = "PRIMARY", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z0EU" }, alarm_name = "a" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", role = "SECONDARY", balancer = { dns_name = "us.elb.example.com", zone_id = "Z0US" }, alarm_name = "b" }
    }
  }

  assert {
    condition     = { for name, record in aws_route53_record.service : name => record.failover_routing_policy[0].type } == { eu = "PRIMARY", us = "SECONDARY" }
    error_message = "The roles must be as they are given."
  }

  assert {
    condition     = alltrue([for record in aws_route53_record.service : record.health_check_id == "region" && length(record.latency_routing_policy) == 0 && length(record.weighted_routing_policy) == 0])
    error_message = "The secondary has a check too, and one policy."
  }
}
