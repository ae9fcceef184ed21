variable "domain" {
  description = "Name of the service and of its zone, like scores.example.com. Its parent must delegate it to the output name_servers."
  type        = string

  validation {
    condition     = length(var.domain) <= 200 && can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain))
    error_message = "The domain must be a DNS name in lower case, without a dot at its end, of at most 200 characters."
  }
}

variable "policy" {
  description = "Who gets which answer. failover: all the primary region. latency: each the nearest healthy region. weighted: shares; regions of weight 0 stand by."
  type        = string
  default     = "latency"

  validation {
    condition     = contains(["failover", "latency", "weighted"], var.policy)
    error_message = "The policy must be failover, latency or weighted."
  }
}

variable "regions" {
  description = "The regions by the name that Rankwire knows them by (regions.name). role is for the policy failover, weight for weighted; cidr is the network of the region."
  type = map(object({
    aws_region = string
    cidr       = string
    role       = optional(string)
    weight     = optional(number)
    balancer   = object({ dns_name = string, zone_id = string })
    alarm_name = string
  }))

  validation {
    condition     = length(var.regions) >= 2
    error_message = "There must be at least two regions."
  }

  validation {
    condition     = alltrue([for name in keys(var.regions) : can(regex("^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", name))])
    error_message = "A region's name must be 1 to 32 of a-z, 0-9 and -, with no - at either end."
  }

  validation {
    condition     = alltrue([for region in var.regions : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", region.aws_region))])
    error_message = "Each aws_region must be the name of a region of AWS, like eu-central-1."
  }

  validation {
    condition     = length(distinct([for region in var.regions : region.aws_region])) == length(var.regions)
    error_message = "Each region must be in an aws_region of its own: one that fails takes all in it along."
  }

  validation {
    condition     = alltrue([for region in var.regions : can(regex("^[a-z0-9.-]*[a-z]$", region.balancer.dns_name))])
    error_message = "A record points to the DNS name of a load balancer, never to an address: load balancers change theirs."
  }

  validation {
    condition     = alltrue([for region in var.regions : try(cidrnetmask(region.cidr) != "" && cidrsubnet(region.cidr, 0, 0) == region.cidr, false)])
    error_message = "Each cidr must be an IPv4 network that is written with its first address, like 10.1.0.0/16."
  }

  # Two networks overlap if they are the same once both are cut to the shorter of their prefixes.
  validation {
    condition = alltrue(flatten([
      for i, one in values(var.regions) : [
        for j, other in values(var.regions) : cidrsubnet(
          "${split("/", one.cidr)[0]}/${min(split("/", one.cidr)[1], split("/", other.cidr)[1])}", 0, 0
          ) != cidrsubnet(
          "${split("/", other.cidr)[0]}/${min(split("/", one.cidr)[1], split("/", other.cidr)[1])}", 0, 0
        ) if i < j && can(cidrnetmask(one.cidr)) && can(cidrnetmask(other.cidr))
      ]
    ]))
    error_message = "The cidrs of two regions must not overlap."
  }

  validation {
    condition     = var.policy != "failover" || sort([for region in var.regions : region.role != null ? region.role : "none"]) == tolist(["PRIMARY", "SECONDARY"])
    error_message = "The policy failover needs two regions, exactly one with the role PRIMARY and one with SECONDARY. For more, use weighted: regions of weight 0 stand by."
  }

  validation {
    condition     = var.policy == "failover" || alltrue([for region in var.regions : region.role == null])
    error_message = "Only the policy failover has roles."
  }

  validation {
    condition     = var.policy != "weighted" || (alltrue([for region in var.regions : try(region.weight >= 0 && region.weight <= 255 && floor(region.weight) == region.weight, false)]) && anytrue([for region in var.regions : try(region.weight > 0, false)]))
    error_message = "The policy weighted needs a whole weight from 0 to 255 for each region, and one above 0."
  }

  validation {
    condition     = var.policy == "weighted" || alltrue([for region in var.regions : region.weight == null])
    error_message = "Only the policy weighted has weights."
  }
}

variable "alarm_topic_arn" {
  description = "SNS topic in us-east-1 that hears of a region that leaves or comes back; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:us-east-1:[0-9]{12}:.+$", var.alarm_topic_arn))
    error_message = "The topic must be an SNS topic in us-east-1, where the figures of Route 53 are."
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
