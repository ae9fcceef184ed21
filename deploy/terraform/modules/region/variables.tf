variable "name" {
  description = "What Rankwire calls this region (regions.name), like eu. Its own name in DNS is NAME.DOMAIN."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", var.name)) && length(var.name) <= 18
    error_message = "A region's name must be 1 to 18 of a-z, 0-9 and single - between them: load balancers allow no more."
  }
}

variable "peers" {
  description = "The names of the other regions."
  type        = set(string)

  validation {
    condition     = !contains(var.peers, var.name)
    error_message = "A region is no peer of itself."
  }

  validation {
    condition     = length(var.peers) >= 1 && length(var.peers) <= 15
    error_message = "A region has 1 to 15 peers."
  }
}

variable "mode" {
  description = "regions.mode, the same for all regions: active-active or primary."
  type        = string
  default     = "active-active"

  validation {
    condition     = contains(["active-active", "primary"], var.mode)
    error_message = "The mode must be active-active or primary."
  }
}

variable "primary" {
  description = "regions.primary, the same for all regions: which one is primary at first and after a failback."
  type        = string

  validation {
    condition     = contains(setunion(var.peers, [var.name]), var.primary)
    error_message = "The primary must be this region or one of its peers."
  }
}

variable "domain" {
  description = "Name of the service: the domain of the module global."
  type        = string
}

variable "zone_id" {
  description = "Zone of the domain: the output zone_id of the module global."
  type        = string
}

variable "cidr" {
  description = "IPv4 network of the region, /16 to /20; no other region's may overlap it."
  type        = string

  validation {
    condition     = try(cidrsubnet(var.cidr, 0, 0) == var.cidr && tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "The cidr must be an IPv4 network of /16 to /20 that is written with its first address, like 10.1.0.0/16."
  }
}

variable "client_cidrs" {
  description = "Who may connect to the load balancer. Health checkers of Route 53 and the other regions must be among them."
  type        = set(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.client_cidrs) > 0 && alltrue([for cidr in var.client_cidrs : can(cidrnetmask(cidr))])
    error_message = "The client_cidrs must be IPv4 networks, at least one."
  }
}

variable "trusted_cidrs" {
  description = "Who may ask /v1/regions: the addresses that the other regions' nodes come from (their network.addresses, with /32), and operators."
  type        = list(string)

  validation {
    condition     = length(var.trusted_cidrs) >= 1 && length(var.trusted_cidrs) <= 150 && alltrue([for cidr in var.trusted_cidrs : can(cidrnetmask(cidr))])
    error_message = "The trusted_cidrs must be 1 to 150 IPv4 networks."
  }
}

variable "database" {
  description = "PostgreSQL: class of its machines, storage in GB and how far it may grow, read replicas, days of backups, and where nodes find the authority of its certificate."
  type = object({
    class       = optional(string, "db.m6g.xlarge")
    storage_gb  = optional(number, 100)
    most_gb     = optional(number, 1000)
    replicas    = optional(number, 0)
    backup_days = optional(number, 14)
    ca_path     = optional(string, "/etc/rankwire/rds.pem")
  })
  default = {}

  validation {
    condition     = var.database.storage_gb >= 20 && var.database.most_gb >= var.database.storage_gb * 1.1
    error_message = "The database needs 20 GB at least, and most_gb at least a tenth above storage_gb."
  }

  validation {
    condition     = contains(range(6), var.database.replicas)
    error_message = "The database can have 0 to 5 replicas."
  }

  validation {
    condition     = var.database.backup_days >= 7 && var.database.backup_days <= 35
    error_message = "Backups are kept for 7 to 35 days."
  }
}

variable "cache" {
  description = "Redis: type of its machines and how many, one of them the master."
  type = object({
    type  = optional(string, "cache.r7g.large")
    nodes = optional(number, 3)
  })
  default = {}

  validation {
    condition     = contains(range(2, 7), var.cache.nodes)
    error_message = "Redis needs 2 to 6 machines: with one there is nothing to fail over to."
  }
}

variable "cache_token" {
  description = "Password of Redis."
  type        = string
  sensitive   = true

  # A password that is in an address and in a header must not need quotes.
  validation {
    condition     = can(regex("^[A-Za-z0-9-]{32,128}$", var.cache_token))
    error_message = "The cache_token must be 32 to 128 letters, digits and hyphens."
  }
}

variable "archive_days" {
  description = "Days after which archived journals move to cheaper storage: infrequent access, then an archive that still answers at once."
  type        = object({ infrequent = optional(number, 30), archive = optional(number, 120) })
  default     = {}

  validation {
    condition     = var.archive_days.infrequent >= 30 && var.archive_days.archive >= var.archive_days.infrequent + 30
    error_message = "S3 moves objects after 30 days at the earliest, and again 30 days later."
  }
}

variable "most_lag_seconds" {
  description = "A region that is further behind peers which it hears from gives up its answers."
  type        = number
  default     = 30

  validation {
    condition     = var.most_lag_seconds >= 5 && var.most_lag_seconds <= 3600
    error_message = "The most_lag_seconds must be 5 to 3600."
  }
}

variable "alarm_topic_arn" {
  description = "SNS topic in this region that hears alarms; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:.+$", var.alarm_topic_arn))
    error_message = "The topic must be the ARN of an SNS topic."
  }
}

variable "tags" {
  description = "Tags of everything, for the allocation of costs: CostCenter and Environment at least."
  type        = map(string)

  validation {
    condition     = alltrue([for key in ["CostCenter", "Environment"] : length(lookup(var.tags, key, "")) > 0])
    error_message = "The tags must have a CostCenter and an Environment: bills are split by them."
  }
}
