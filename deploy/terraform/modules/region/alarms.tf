locals {
  topics = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]
  peers  = { for index, peer in sort(tolist(var.peers)) : peer => index }
}

# How far this region is behind a peer counts only while it hears from that peer: else a peer that
# is dead would take all that live out of DNS with it.
resource "aws_cloudwatch_metric_alarm" "lag" {
  alarm_name          = "${local.prefix}-lag"
  alarm_description   = "Region ${var.name} is more than ${var.most_lag_seconds} s behind a region that it hears from."
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.most_lag_seconds
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topics
  ok_actions          = local.topics

  metric_query {
    id          = "lag"
    label       = "Seconds behind the furthest region that is heard from"
    return_data = true
    expression  = "MAX([${join(", ", [for index in values(local.peers) : "IF(up${index} > 0, lag${index}, 0)"])}])"
  }

  dynamic "metric_query" {
    for_each = local.peers

    content {
      id = "lag${metric_query.value}"

      metric {
        namespace   = "Rankwire"
        metric_name = "rankwire_region_lag_seconds"
        dimensions  = { Home = var.name, region = metric_query.key }
        stat        = "Minimum"
        period      = 60
      }
    }
  }

  dynamic "metric_query" {
    for_each = local.peers

    content {
      id = "up${metric_query.value}"

      metric {
        namespace   = "Rankwire"
        metric_name = "rankwire_region_link_up"
        dimensions  = { Home = var.name, region = metric_query.key }
        stat        = "Minimum"
        period      = 60
      }
    }
  }

  tags = merge(local.tags, { Component = "alarms" })
}

resource "aws_cloudwatch_metric_alarm" "nodes" {
  for_each = local.targets

  alarm_name          = "${local.prefix}-${each.key}-nodes"
  alarm_description   = "Region ${var.name} has fewer than two nodes that serve ${each.key}."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 2
  treat_missing_data  = "breaching"
  alarm_actions       = local.topics
  ok_actions          = local.topics

  dimensions = {
    LoadBalancer = aws_lb.region.arn_suffix
    TargetGroup  = aws_lb_target_group.nodes[each.key].arn_suffix
  }

  tags = merge(local.tags, { Component = "alarms" })
}

resource "aws_cloudwatch_metric_alarm" "database_storage" {
  alarm_name          = "${local.prefix}-database-storage"
  alarm_description   = "PostgreSQL of region ${var.name} has less than a tenth of its first storage left, and could not grow."
  namespace           = "AWS/RDS"
  metric_name         = "FreeStorageSpace"
  dimensions          = { DBInstanceIdentifier = aws_db_instance.region.identifier }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = var.database.storage_gb * pow(1024, 3) / 10
  treat_missing_data  = "missing"
  alarm_actions       = local.topics
  ok_actions          = local.topics

  tags = merge(local.tags, { Component = "alarms" })
}
