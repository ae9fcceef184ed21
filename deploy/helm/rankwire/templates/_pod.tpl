{{/* What all pods have in common. */}}

{{/* No pod runs as root or keeps a right that it does not need. */}}
{{- define "rankwire.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "rankwire.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/*
Kubernetes would describe the Service rankwire-api in variables like RANKWIRE_API_PORT, which a
node takes for settings that it does not know: enableServiceLinks stays off.
*/}}
{{- define "rankwire.podBasics" -}}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{ include "rankwire.podSecurity" . }}
{{- end }}

{{/* A variable from the secret with addresses. Takes (list $ variable key). */}}
{{- define "rankwire.secretVariable" -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef: { name: {{ include "rankwire.secret" (index . 0) }}, key: {{ index . 2 }} }
{{- end }}

{{/* Addresses and secrets of a node. */}}
{{- define "rankwire.secretVariables" -}}
{{ include "rankwire.secretVariable" (list . "RANKWIRE_STORAGE_URL" "storage-url") }}
{{- if .Values.storage.replica }}
{{ include "rankwire.secretVariable" (list . "RANKWIRE_STORAGE_REPLICA_URL" "replica-url") }}
{{- end }}
{{- if .Values.redis.enabled }}
{{ include "rankwire.secretVariable" (list . "RANKWIRE_REDIS_URL" "redis-url") }}
{{- end }}
{{- if (.Values.settings.regions).name }}
{{ include "rankwire.secretVariable" (list . "RANKWIRE_REGIONS_SECRET" "regions-secret") }}
{{- end }}
{{- end }}

{{/*
How long a pod may take to end: it goes on serving while balancers notice that it leaves, sends its
watchers away and waits for the last of them (7 s, with hub processes), answers what is at hand
(5 s), commits and writes its last checkpoint. Takes (dict "root" $ "component" "hub").
*/}}
{{- define "rankwire.graceSeconds" -}}
{{- $drain := .root.Values.drain -}}
{{- $watchers := ternary 0 (add $drain.drainSeconds 7) (eq .component "api") -}}
{{ add $drain.leaveSeconds $watchers 5 $drain.checkpointSeconds }}
{{- end }}

{{/* One probe asks whether the process is alive, one whether it should get traffic. */}}
{{- define "rankwire.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: http }
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: {{ div (add .Values.startupSeconds 4) 5 }}
livenessProbe:
  httpGet: { path: /healthz, port: http }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: "/readyz?for=reads", port: http }
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{/* Over zones first, then over machines; never at the price of not running. */}}
{{- define "rankwire.spread" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "rankwire.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}

{{/* A rule for what lies outside: a port, and where, or anywhere. */}}
{{- define "rankwire.egress" -}}
- ports:
    - { protocol: TCP, port: {{ .port }} }
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
