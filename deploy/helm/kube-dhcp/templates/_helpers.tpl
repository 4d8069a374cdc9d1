{{- /* A text of a value or of whoever installs is put through quote, or through toYaml, which quotes only what YAML
would take for a number, a map or the like: what is in deploy/ stays plain. */ -}}
{{- define "kube-dhcp.labels" -}}
app.kubernetes.io/name: kube-dhcp
app.kubernetes.io/part-of: kube-dhcp
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kube-dhcp.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "kube-dhcp.port" -}}
{{ regexFind "[0-9]+$" . }}
{{- end }}

{{- /* Flags that agent and controller have in common. */ -}}
{{- define "kube-dhcp.log" -}}
{{- if ne .logFormat "text" }}
- --log-format={{ .logFormat }}
{{- end }}
{{- range .extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "kube-dhcp.env" -}}
{{- with .logFilter }}
- name: RUST_LOG
  value: {{ . | quote }}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Puts the second map over the first. mergeOverwrite leaves out what is false, 0 or empty. */ -}}
{{- define "kube-dhcp.over" -}}
{{- $base := index . 0 }}
{{- range $key, $value := index . 1 }}
{{- $old := get $base $key }}
{{- if and (kindIs "map" $value) (kindIs "map" $old) }}
{{- include "kube-dhcp.over" (list $old $value) }}
{{- else }}
{{- $_ := set $base $key $value }}
{{- end }}
{{- end }}
{{- end }}
