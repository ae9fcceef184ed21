# Three zones, each with a public subnet for the load balancer, one for nodes and one for data.

data "aws_region" "here" {}

data "aws_caller_identity" "owner" {}

data "aws_availability_zones" "here" {
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }

  lifecycle {
    postcondition {
      condition     = length(self.names) >= 3
      error_message = "The region needs three availability zones."
    }
  }
}

locals {
  prefix = "rankwire-${var.name}"
  tags   = merge(var.tags, { Service = "rankwire", Region = var.name })
  zones  = { for index, zone in slice(data.aws_availability_zones.here.names, 0, 3) : zone => index }
}

resource "aws_vpc" "region" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = merge(local.tags, { Name = local.prefix, Component = "network" })
}

# Whoever forgets to choose a group reaches nothing.
resource "aws_default_security_group" "nothing" {
  vpc_id = aws_vpc.region.id
  tags   = merge(local.tags, { Name = "${local.prefix}-default", Component = "network" })
}

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id            = aws_vpc.region.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.cidr, 4, each.value)

  tags = merge(local.tags, { Name = "${local.prefix}-public-${each.key}", Component = "network" })
}

resource "aws_subnet" "nodes" {
  for_each = local.zones

  vpc_id            = aws_vpc.region.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.cidr, 4, 4 + each.value)

  tags = merge(local.tags, { Name = "${local.prefix}-nodes-${each.key}", Component = "network" })
}

resource "aws_subnet" "data" {
  for_each = local.zones

  vpc_id            = aws_vpc.region.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.cidr, 4, 8 + each.value)

  tags = merge(local.tags, { Name = "${local.prefix}-data-${each.key}", Component = "network" })
}

resource "aws_internet_gateway" "region" {
  vpc_id = aws_vpc.region.id
  tags   = merge(local.tags, { Name = local.prefix, Component = "network" })
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.region.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.region.id
  }

  tags = merge(local.tags, { Name = "${local.prefix}-public", Component = "network" })
}

resource "aws_route_table_association" "public" {
  for_each = local.zones

  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public.id
}

# Each zone has its own way out: nodes reach other regions while another zone is away.
resource "aws_eip" "way_out" {
  for_each = local.zones

  domain = "vpc"
  tags   = merge(local.tags, { Name = "${local.prefix}-${each.key}", Component = "network" })
}

resource "aws_nat_gateway" "way_out" {
  for_each = local.zones

  allocation_id = aws_eip.way_out[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags       = merge(local.tags, { Name = "${local.prefix}-${each.key}", Component = "network" })
  depends_on = [aws_internet_gateway.region]
}

resource "aws_route_table" "nodes" {
  for_each = local.zones

  vpc_id = aws_vpc.region.id

  route {
    cidr_block     = "0.0.0.0/0"
    nat_gateway_id = aws_nat_gateway.way_out[each.key].id
  }

  tags = merge(local.tags, { Name = "${local.prefix}-nodes-${each.key}", Component = "network" })
}

resource "aws_route_table_association" "nodes" {
  for_each = local.zones

  subnet_id      = aws_subnet.nodes[each.key].id
  route_table_id = aws_route_table.nodes[each.key].id
}

# Data have no way out at all.
resource "aws_route_table" "data" {
  vpc_id = aws_vpc.region.id
  tags   = merge(local.tags, { Name = "${local.prefix}-data", Component = "network" })
}

resource "aws_route_table_association" "data" {
  for_each = local.zones

  subnet_id      = aws_subnet.data[each.key].id
  route_table_id = aws_route_table.data.id
}

# To the archive, and to where ECR keeps images: nodes start from these.
data "aws_iam_policy_document" "s3" {
  statement {
    sid       = "Archive"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.archive.arn, "${aws_s3_bucket.archive.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }

  statement {
    sid       = "Images"
    actions   = ["s3:GetObject"]
    resources = ["arn:aws:s3:::prod-${data.aws_region.here.name}-starport-layer-bucket/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

# Archives go to S3 without the fee of the gateways above.
resource "aws_vpc_endpoint" "s3" {
  policy          = data.aws_iam_policy_document.s3.json
  vpc_id          = aws_vpc.region.id
  service_name    = "com.amazonaws.${data.aws_region.here.name}.s3"
  route_table_ids = [for table in aws_route_table.nodes : table.id]

  tags = merge(local.tags, { Name = "${local.prefix}-s3", Component = "network" })
}
