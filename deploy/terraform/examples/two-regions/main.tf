# Two regions: the first one answers everybody, the second one when the first is away.

terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6.0"
    }
  }

  # State has passwords in it, and two people must not apply at once. Values come from
  # `terraform init -backend-config=FILE`; see the README beside the modules.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

locals {
  mode = "primary"

  regions = {
    eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", role = "PRIMARY" }
    us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", role = "SECONDARY" }
  }
}

provider "aws" {
  alias  = "eu"
  region = local.regions.eu.aws_region
}

provider "aws" {
  alias  = "us"
  region = local.regions.us.aws_region
}

# Route 53 has no region; its figures are in this one.
provider "aws" {
  alias  = "global"
  region = "us-east-1"
}

module "global" {
  source    = "../../modules/global"
  providers = { aws = aws.global }

  domain          = var.domain
  policy          = "failover"
  alarm_topic_arn = var.alarm_topic_arns.global
  tags            = var.tags

  regions = {
    for name, region in local.regions : name => merge(region, {
      balancer   = local.made[name].balancer
      alarm_name = local.made[name].alarm_name
    })
  }
}

locals {
  made = {
    eu = module.eu
    us = module.us
  }
}

module "eu" {
  source    = "../../modules/region"
  providers = { aws = aws.eu }

  name            = "eu"
  peers           = setsubtract(keys(local.regions), ["eu"])
  cidr            = local.regions.eu.cidr
  mode            = local.mode
  primary         = "eu"
  trusted_cidrs   = concat(var.operator_cidrs, [for address in module.us.network.addresses : "${address}/32"])
  domain          = var.domain
  zone_id         = module.global.zone_id
  cache_token     = var.cache_token
  alarm_topic_arn = var.alarm_topic_arns.eu
  tags            = var.tags
}

module "us" {
  source    = "../../modules/region"
  providers = { aws = aws.us }

  name            = "us"
  peers           = setsubtract(keys(local.regions), ["us"])
  cidr            = local.regions.us.cidr
  mode            = local.mode
  primary         = "eu"
  trusted_cidrs   = concat(var.operator_cidrs, [for address in module.eu.network.addresses : "${address}/32"])
  domain          = var.domain
  zone_id         = module.global.zone_id
  cache_token     = var.cache_token
  alarm_topic_arn = var.alarm_topic_arns.us
  tags            = var.tags
}
