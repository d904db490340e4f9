{{- define "stanch.labels" -}}
app.kubernetes.io/name: stanch
app.kubernetes.io/part-of: stanch
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "stanch.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* A file without values; the namespace that it names is the release's. Call with (list $ "admission.yaml"). */}}
{{- define "stanch.file" -}}
{{- $root := index . 0 }}
{{- $text := $root.Files.Get (printf "files/%s" (index . 1)) | replace "stanch-system" $root.Release.Namespace }}
{{- with $root.Values.commonLabels }}
{{- $own := "\n    app.kubernetes.io/part-of: stanch\n" }}
{{- $text = $text | replace $own (printf "%s%s\n" $own (toYaml . | indent 4)) }}
{{- end }}
{{- $text }}
{{- end }}

{{/* What keeps a pod to some nodes. */}}
{{- define "stanch.nodes" -}}
{{- with .Values.operator.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.operator.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .Values.operator.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A ClusterRole in one namespace, for the operator's account. Call with (list $ "chat" "stanch-namespace"). */}}
{{- define "stanch.bound" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ index . 2 }}
  namespace: {{ index . 1 }}
  labels: {app.kubernetes.io/part-of: stanch}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ index . 2 }}}
subjects:
- {kind: ServiceAccount, name: stanch, namespace: {{ (index . 0).Release.Namespace }}}
{{- end }}

{{/* The claim that evidence is written to. */}}
{{- define "stanch.evidence.claim" -}}
{{- .Values.evidence.persistence.existingClaim | default "stanch-evidence" }}
{{- end }}

{{/* The ConfigMap that clocks are read from; empty: the image has them. */}}
{{- define "stanch.clocks.configMap" -}}
{{- if .Values.clocks.data }}stanch-clocks{{ else }}{{ .Values.clocks.configMap }}{{ end }}
{{- end }}

{{/* Environment variables that values other than operator.settings decide. */}}
{{- define "stanch.env" -}}
{{- with .Values.scope.namespaces }}
- {name: STANCH_NAMESPACES, value: {{ join "," . | quote }}}
{{- end }}
{{- if .Values.receiver.enabled }}
- {name: STANCH_RECEIVER_PORT, value: "8443"}
{{- if eq .Values.receiver.tls.source "selfSigned" }}
- {name: STANCH_RECEIVER_TLS_SECRET, value: {{ .Values.receiver.tls.secretName }}}
{{- else }}
- {name: STANCH_TLS_CERT_FILE, value: /etc/stanch/tls/tls.crt}
- {name: STANCH_TLS_KEY_FILE, value: /etc/stanch/tls/tls.key}
{{- end }}
- {name: STANCH_SIGNAL_CREDENTIALS_FILE, value: /etc/stanch/signals/credentials.yaml}
{{- end }}
{{- with .Values.evidence }}
{{- if .url }}
- {name: STANCH_EVIDENCE_URL, value: {{ .url | quote }}}
{{- end }}
{{- if .endpoint }}
- {name: STANCH_EVIDENCE_ENDPOINT, value: {{ .endpoint | quote }}}
{{- end }}
{{- if .region }}
- {name: STANCH_EVIDENCE_REGION, value: {{ .region | quote }}}
{{- end }}
{{- if .credentialsSecret }}
- {name: STANCH_EVIDENCE_CREDENTIALS_DIR, value: /etc/stanch/evidence}
{{- end }}
{{- end }}
{{- if include "stanch.clocks.configMap" . }}
- {name: STANCH_CLOCKS_FILE, value: /etc/stanch/clocks/clocks.yaml}
{{- end }}
{{- range $name, $value := .Values.operator.settings }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- with .Values.operator.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
