variable "domain" {
  description = "Name of the service, like scores.example.com."
  type        = string
}

variable "cache_token" {
  description = "Password of Redis, the same in all regions; give it as TF_VAR_cache_token."
  type        = string
  sensitive   = true
}

variable "operator_cidrs" {
  description = "Where `rankwire regions` is run: IPv4 networks that may ask /v1/regions, beside the other regions."
  type        = list(string)
  default     = []
}

variable "alarm_topic_arns" {
  description = "SNS topics that hear alarms: of DNS (global, in us-east-1) and of each region; none where absent."
  type = object({
    global = optional(string)
    eu     = optional(string)
    us     = optional(string)
    ap     = optional(string)
  })
  default = {}
}

variable "tags" {
  description = "Tags of everything: CostCenter and Environment at least."
  type        = map(string)
}
