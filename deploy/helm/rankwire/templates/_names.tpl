{{/* Names, labels and the image. */}}

{{/* What all names begin with. */}}
{{- define "rankwire.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Labels that never change, for selectors. Takes (dict "root" $ "component" "api"). */}}
{{- define "rankwire.selector" -}}
app.kubernetes.io/name: rankwire
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* A new version of the chart alone does not replace pods. */}}
{{- define "rankwire.podLabels" -}}
{{ include "rankwire.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "rankwire.labels" -}}
{{ include "rankwire.podLabels" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "rankwire.image" -}}
{{- $image := .Values.image -}}
{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The components that are nodes, as a JSON list. */}}
{{- define "rankwire.tiers" -}}
{{ ternary (list "all") (list "api" "hub") (eq .Values.tiers "single") | toJson }}
{{- end }}

{{/* The component that serves a door. Takes (dict "root" $ "door" "live"). */}}
{{- define "rankwire.serving" -}}
{{ ternary "all" (ternary "hub" "api" (eq .door "live")) (eq .root.Values.tiers "single") }}
{{- end }}

{{- define "rankwire.secret" -}}
{{ .Values.secrets.existing | default (include "rankwire.name" .) }}
{{- end }}

{{/* Connections to PostgreSQL that all nodes take when there are as many as there may be. */}}
{{- define "rankwire.databaseConnections" -}}
{{- $each := add (default 8 (.Values.settings.storage).pool_size) 7 (ternary 6 0 (not (empty (.Values.settings.regions).name))) }}
{{- $nodes := 0 }}
{{- range $component := include "rankwire.tiers" . | fromJsonArray }}
{{- $tier := index $.Values $component }}
{{- $nodes = add $nodes (ternary $tier.autoscaling.maxReplicas $tier.replicas $tier.autoscaling.enabled) }}
{{- end }}
{{- mul $each $nodes }}
{{- end }}
