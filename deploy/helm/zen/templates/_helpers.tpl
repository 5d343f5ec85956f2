{{- define "zen.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "zen.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "zen.labels" -}}
{{ include "zen.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "zen.secret" -}}
{{- if .Values.secret }}{{ include "zen.name" . }}{{ else }}{{ .Values.existingSecret }}{{ end }}
{{- end }}

{{/* server.yaml with what the chart knows; what the user wrote wins. */}}
{{- define "zen.server" -}}
{{- $http := dict "allowed_hosts" (append .Values.allowedHosts "localhost") "state_key" "${STATE_KEY:-}" }}
{{- if .Values.serviceMonitor.enabled }}{{ $_ := set $http "metrics_token" "${METRICS_TOKEN}" }}{{ end }}
{{- $ours := dict "version" "1.0" "database_url" "${DATABASE_URL}" "redis_url" "${REDIS_URL}" "http" $http "auth" (dict "tokens" true) }}
{{- toYaml (mergeOverwrite $ours .Values.settings.server) }}
{{- end }}
