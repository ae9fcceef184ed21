resource "aws_db_subnet_group" "region" {
  name       = local.prefix
  subnet_ids = [for subnet in aws_subnet.data : subnet.id]
  tags       = merge(local.tags, { Component = "database" })
}

resource "aws_db_parameter_group" "region" {
  name   = "${local.prefix}-15"
  family = "postgres15"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  lifecycle {
    create_before_destroy = true
  }

  tags = merge(local.tags, { Component = "database" })
}

resource "aws_db_instance" "region" {
  identifier     = local.prefix
  engine         = "postgres"
  engine_version = "15"
  instance_class = var.database.class

  # A second machine in another zone has every commit before it is answered.
  multi_az              = true
  storage_type          = "gp3"
  allocated_storage     = var.database.storage_gb
  max_allocated_storage = var.database.most_gb
  storage_encrypted     = true

  db_name                     = "rankwire"
  username                    = "rankwire_owner"
  manage_master_user_password = true

  db_subnet_group_name   = aws_db_subnet_group.region.name
  parameter_group_name   = aws_db_parameter_group.region.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false

  backup_retention_period         = var.database.backup_days
  copy_tags_to_snapshot           = true
  skip_final_snapshot             = false
  final_snapshot_identifier       = "${local.prefix}-last"
  deletion_protection             = true
  performance_insights_enabled    = true
  enabled_cloudwatch_logs_exports = ["postgresql"]

  tags = merge(local.tags, { Component = "database" })

  lifecycle {
    prevent_destroy = true
    # The storage grows by itself.
    ignore_changes = [allocated_storage]
  }
}

resource "aws_db_instance" "replica" {
  count = var.database.replicas

  identifier             = "${local.prefix}-replica-${count.index + 1}"
  replicate_source_db    = aws_db_instance.region.identifier
  instance_class         = var.database.class
  storage_type           = "gp3"
  max_allocated_storage  = var.database.most_gb
  storage_encrypted      = true
  parameter_group_name   = aws_db_parameter_group.region.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false
  copy_tags_to_snapshot  = true
  skip_final_snapshot    = true

  performance_insights_enabled = true

  tags = merge(local.tags, { Component = "database" })
}
