{{/* What the objects of the metrics server share. */}}

{{- define "rankwire.metricsAccount" -}}
- { kind: ServiceAccount, name: {{ include "rankwire.name" . }}-metrics, namespace: {{ .Release.Namespace }} }
{{- end }}

{{- define "rankwire.metricsSecret" -}}
{{- $tls := .Values.metricsServer.tls -}}
{{- if eq $tls.mode "existing" -}}
{{ required "metricsServer.tls.secret is needed for metricsServer.tls.mode existing" $tls.secret }}
{{- else -}}
{{ include "rankwire.name" . }}-metrics-tls
{{- end -}}
{{- end }}
