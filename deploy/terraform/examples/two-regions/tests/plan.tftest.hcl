# The whole of it, planned without an account.

mock_provider "aws" {
  alias           = "eu"
  source          = "../../mocks/region"
  override_during = plan

  override_resource {
    target = module.eu.aws_lb.region
    values = { dns_name = "eu.elb.example.com", zone_id = "ZEU", arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/eu/1" }
  }
}

mock_provider "aws" {
  alias           = "us"
  source          = "../../mocks/region"
  override_during = plan

  override_resource {
    target = module.us.aws_lb.region
    values = { dns_name = "us.elb.example.com", zone_id = "ZUS", arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/us/1" }
  }
}

mock_provider "aws" {
  alias           = "global"
  override_during = plan

  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
}

variables {
  domain      = "scores.example.com"
  cache_token = "0123456789abcdef0123456789abcdef"
  tags        = { CostCenter = "games", Environment = "test" }
}

run "names_and_regions_fit" {
  command = plan

  assert {
    condition     = { for name, region in output.nodes : name => [region.settings["RANKWIRE_REGIONS_MODE"], region.settings["RANKWIRE_REGIONS_PRIMARY"]] } == { eu = ["primary", "eu"], us = ["primary", "eu"] }
    error_message = "One region takes writes, and all agree which: the one that DNS answers."
  }

  assert {
    condition     = keys(module.global.health_checks) == ["eu", "us"] && keys(module.global.alarms) == keys(module.global.health_checks)
    error_message = "Each region must have a check and an alarm."
  }

  assert {
    condition     = { for name, region in output.nodes : name => region.settings["RANKWIRE_REGIONS_PEERS"] } == { eu = "us=https://us.scores.example.com", us = "eu=https://eu.scores.example.com" }
    error_message = "Each region must know all others by their own names."
  }

  assert {
    condition     = { for name, region in local.made : name => region.balancer.dns_name } == { eu = "eu.elb.example.com", us = "us.elb.example.com" }
    error_message = "Each region must have a load balancer of its own."
  }
}
