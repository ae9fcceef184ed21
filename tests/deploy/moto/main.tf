# The module `global`, made for real against a server that speaks the API of AWS.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6.0"
    }
  }
}

variable "endpoint" {
  type = string
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "anybody"
  secret_key                  = "anything"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true

  endpoints {
    route53    = var.endpoint
    cloudwatch = var.endpoint
  }
}

module "global" {
  source = "../../../deploy/terraform/modules/global"

  domain          = "scores.example.com"
  policy          = "failover"
  alarm_topic_arn = "arn:aws:sns:us-east-1:123456789012:operators"
  tags            = { CostCenter = "games", Environment = "test" }

  # The zones are those of load balancers in these regions of AWS.
  regions = {
    eu = {
      aws_region = "eu-central-1"
      cidr       = "10.1.0.0/16"
      role       = "PRIMARY"
      balancer   = { dns_name = "eu-1.eu-central-1.elb.amazonaws.com", zone_id = "Z215JYRZR1TBD5" }
      alarm_name = "rankwire-eu-lag"
    }
    us = {
      aws_region = "us-east-1"
      cidr       = "10.2.0.0/16"
      role       = "SECONDARY"
      balancer   = { dns_name = "us-1.us-east-1.elb.amazonaws.com", zone_id = "Z35SXDOTRQ7X7K" }
      alarm_name = "rankwire-us-lag"
    }
  }
}

output "module" {
  value = module.global
}
