# What the module refuses, each with its variable.

mock_provider "aws" {
  override_during = plan

  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
}

variables {
  domain = "scores.example.com"
  tags   = { CostCenter = "games", Environment = "test" }
  regions = {
    eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
    us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
  }
}

run "a_domain_that_is_no_name" {
  command = plan

  variables {
    domain = "Scores.example.com"
  }

  expect_failures = [var.domain]
}

run "a_domain_with_a_dot_at_its_end" {
  command = plan

  variables {
    domain = "scores.example.com."
  }

  expect_failures = [var.domain]
}

run "a_policy_that_nobody_knows" {
  command = plan

  variables {
    policy = "round-robin"
  }

  expect_failures = [var.policy]
}

run "one_region" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
    }
  }

  expect_failures = [var.regions]
}

run "a_region_with_a_wrong_name" {
  command = plan

  variables {
    regions = {
      EU = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "EU" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "an_aws_region_that_is_none" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "virginia", cidr = "10.2.0.0/16", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "two_regions_in_one_place" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "eu-central-1", cidr = "10.2.0.0/16", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "an_address_in_place_of_a_balancer" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", balancer = { dns_name = "192.0.2.7", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "a_cidr_that_is_none" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "a_cidr_that_starts_within" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.3.0/16", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "the_same_cidr_twice" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.1.0.0/16", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "a_cidr_within_another" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.0.0.0/8", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "two_primaries" {
  command = plan

  variables {
    policy = "failover"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", role = "PRIMARY", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", role = "PRIMARY", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "no_primary" {
  command = plan

  variables {
    policy = "failover"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", role = "SECONDARY", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", role = "SECONDARY", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "no_roles" {
  command = plan

  variables {
    policy = "failover"
  }

  expect_failures = [var.regions]
}

run "failover_of_three" {
  command = plan

  variables {
    policy = "failover"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", role = "PRIMARY", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", role = "SECONDARY", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
      ap = { aws_region = "ap-southeast-2", cidr = "10.3.0.0/16", role = "SECONDARY", balancer = { dns_name = "ap.elb.example.com", zone_id = "Z" }, alarm_name = "ap" }
    }
  }

  expect_failures = [var.regions]
}

run "roles_without_failover" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", role = "PRIMARY", balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", role = "SECONDARY", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "a_weight_that_is_missing" {
  command = plan

  variables {
    policy = "weighted"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", weight = 1, balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "a_weight_that_is_too_large" {
  command = plan

  variables {
    policy = "weighted"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", weight = 256, balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", weight = 1, balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "a_weight_below_nothing" {
  command = plan

  variables {
    policy = "weighted"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", weight = -1, balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", weight = 1, balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "half_a_weight" {
  command = plan

  variables {
    policy = "weighted"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", weight = 0.5, balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", weight = 1, balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "no_weight_above_nothing" {
  command = plan

  variables {
    policy = "weighted"
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", weight = 0, balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", weight = 0, balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "weights_without_their_policy" {
  command = plan

  variables {
    regions = {
      eu = { aws_region = "eu-central-1", cidr = "10.1.0.0/16", weight = 1, balancer = { dns_name = "eu.elb.example.com", zone_id = "Z" }, alarm_name = "eu" }
      us = { aws_region = "us-east-1", cidr = "10.2.0.0/16", weight = 1, balancer = { dns_name = "us.elb.example.com", zone_id = "Z" }, alarm_name = "us" }
    }
  }

  expect_failures = [var.regions]
}

run "a_topic_elsewhere" {
  command = plan

  variables {
    alarm_topic_arn = "arn:aws:sns:eu-central-1:123456789012:operators"
  }

  expect_failures = [var.alarm_topic_arn]
}

run "no_cost_centre" {
  command = plan

  variables {
    tags = { Environment = "test" }
  }

  expect_failures = [var.tags]
}

run "an_empty_environment" {
  command = plan

  variables {
    tags = { CostCenter = "games", Environment = "" }
  }

  expect_failures = [var.tags]
}

run "a_provider_elsewhere" {
  command = plan

  override_data {
    target          = data.aws_region.here
    override_during = plan
    values          = { name = "eu-central-1" }
  }

  expect_failures = [data.aws_region.here]
}
