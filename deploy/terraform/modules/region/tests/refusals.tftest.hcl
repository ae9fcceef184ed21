# What the module refuses, each with its variable.

mock_provider "aws" {
  source          = "../../mocks/region"
  override_during = plan
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

run "a_wrong_name" {
  command = plan

  variables {
    name = "EU"
  }

  expect_failures = [var.name]
}

run "a_name_that_is_too_long" {
  command = plan

  variables {
    name = "a23456789012345678x"
  }

  expect_failures = [var.name]
}

run "a_name_with_two_hyphens" {
  command = plan

  variables {
    name = "eu--west"
  }

  expect_failures = [var.name]
}

run "itself_as_a_peer" {
  command = plan

  variables {
    peers = ["eu", "us"]
  }

  expect_failures = [var.peers]
}

run "a_mode_that_is_none" {
  command = plan

  variables {
    mode = "standby"
  }

  expect_failures = [var.mode]
}

run "a_primary_elsewhere" {
  command = plan

  variables {
    primary = "sa"
  }

  expect_failures = [var.primary]
}

run "nobody_to_trust" {
  command = plan

  variables {
    trusted_cidrs = []
  }

  expect_failures = [var.trusted_cidrs]
}

run "no_peers" {
  command = plan

  variables {
    peers = []
  }

  expect_failures = [var.peers]
}

run "a_network_that_is_none" {
  command = plan

  variables {
    cidr = "10.1.0.0"
  }

  expect_failures = [var.cidr]
}

run "a_network_that_starts_within" {
  command = plan

  variables {
    cidr = "10.1.2.0/16"
  }

  expect_failures = [var.cidr]
}

run "a_network_that_is_too_small" {
  command = plan

  variables {
    cidr = "10.1.0.0/24"
  }

  expect_failures = [var.cidr]
}

run "a_network_that_is_too_large" {
  command = plan

  variables {
    cidr = "10.0.0.0/8"
  }

  expect_failures = [var.cidr]
}

run "clients_that_are_no_network" {
  command = plan

  variables {
    client_cidrs = ["everybody"]
  }

  expect_failures = [var.client_cidrs]
}

run "no_clients" {
  command = plan

  variables {
    client_cidrs = []
  }

  expect_failures = [var.client_cidrs]
}

run "a_database_that_is_too_small" {
  command = plan

  variables {
    database = { storage_gb = 10 }
  }

  expect_failures = [var.database]
}

run "a_database_that_cannot_grow" {
  command = plan

  variables {
    database = { storage_gb = 100, most_gb = 105 }
  }

  expect_failures = [var.database]
}

run "too_many_replicas" {
  command = plan

  variables {
    database = { replicas = 6 }
  }

  expect_failures = [var.database]
}

run "half_a_replica" {
  command = plan

  variables {
    database = { replicas = 0.5 }
  }

  expect_failures = [var.database]
}

run "backups_of_a_day" {
  command = plan

  variables {
    database = { backup_days = 1 }
  }

  expect_failures = [var.database]
}

run "backups_of_a_year" {
  command = plan

  variables {
    database = { backup_days = 365 }
  }

  expect_failures = [var.database]
}

run "a_redis_alone" {
  command = plan

  variables {
    cache = { nodes = 1 }
  }

  expect_failures = [var.cache]
}

run "a_password_that_is_too_short" {
  command = plan

  variables {
    cache_token = "short"
  }

  expect_failures = [var.cache_token]
}

run "a_password_that_needs_quotes" {
  command = plan

  variables {
    cache_token = "0123456789abcdef0123456789abcd@/"
  }

  expect_failures = [var.cache_token]
}

run "storage_that_is_cheaper_too_early" {
  command = plan

  variables {
    archive_days = { infrequent = 7 }
  }

  expect_failures = [var.archive_days]
}

run "two_moves_in_a_row" {
  command = plan

  variables {
    archive_days = { infrequent = 30, archive = 40 }
  }

  expect_failures = [var.archive_days]
}

run "a_lag_that_is_no_bound" {
  command = plan

  variables {
    most_lag_seconds = 0
  }

  expect_failures = [var.most_lag_seconds]
}

run "a_topic_that_is_none" {
  command = plan

  variables {
    alarm_topic_arn = "operators"
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

run "two_zones_are_too_few" {
  command = plan

  override_data {
    target          = data.aws_availability_zones.here
    override_during = plan
    values          = { names = ["eu-central-1a", "eu-central-1b"] }
  }

  expect_failures = [data.aws_availability_zones.here]
}
