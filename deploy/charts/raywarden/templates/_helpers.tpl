{{- /* The labels of every object, in addition to those of deploy/base. */}}
{{- define "raywarden.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "raywarden.image" -}}
{{- with .Values.image }}
{{- .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- /* The small image of the init container, of the same version. */}}
{{- define "raywarden.enrollImage" -}}
{{- $server := .Values.image }}
{{- $tag := printf "%s-enroll" ($server.tag | default .Chart.AppVersion) }}
{{- with .Values.enrollImage }}
{{- .repository | default $server.repository }}:{{ .tag | default $tag }}
{{- with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- /* Where pods run, and with which Secrets their images are pulled. */}}
{{- define "raywarden.scheduling" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The variables that the components set, as deploy/components does. */}}
{{- define "raywarden.componentEnv" -}}
{{- if .Values.certManager.enabled }}
- {name: RAYWARDEN_TLS_CERT_FILE, value: /etc/raywarden/serving/tls.crt}
- {name: RAYWARDEN_TLS_KEY_FILE, value: /etc/raywarden/serving/tls.key}
- {name: RAYWARDEN_SIGNER_CA_FILE, value: /etc/raywarden/serving/ca.crt}
- {name: RAYWARDEN_ROOT_CERT_FILE, value: /etc/raywarden/root/tls.crt}
- {name: RAYWARDEN_ROOT_KEY_FILE, value: /etc/raywarden/root/tls.key}
{{- end }}
{{- if .Values.caBundleByHand.enabled }}
- {name: RAYWARDEN_WEBHOOK_CONFIGURATION, value: ""}
{{- end }}
{{- if .Values.connect.enabled }}
- {name: RAYWARDEN_CLIENT_CERTIFICATES, value: "true"}
{{- end }}
{{- if .Values.ownNetworkPolicies.enabled }}
- {name: RAYWARDEN_WRITE_NETWORK_POLICIES, value: "false"}
{{- end }}
{{- end }}

{{- /* The policy file: the example with all defaults, unless values differ from them. */}}
{{- define "raywarden.policy" -}}
{{- $policy := .Values.policy }}
{{- if .Values.openshift.enabled }}
{{- /* restricted-v2 assigns each namespace its own range of users, so RayWarden must not write one. */}}
{{- $policy = mustMerge (deepCopy $policy) (dict "inject" (dict "nonRootImages" list)) }}
{{- end }}
{{- if $policy }}
{{- toYaml (mustMerge (dict "apiVersion" "raywarden.io/v1alpha1" "kind" "Policy") $policy) }}
{{- else }}
{{- .Files.Get "files/policy.yaml" }}
{{- end }}
{{- end }}

{{- /* The pod of a Job of the chart, with the arguments and the name of the container. */}}
{{- define "raywarden.jobPod" -}}
{{- $chart := .chart -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: true
enableServiceLinks: false
restartPolicy: Never
{{- with include "raywarden.scheduling" $chart }}
{{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- if not $chart.Values.openshift.enabled }}
  runAsUser: 65532
  runAsGroup: 65532
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: {{ .name }}
    image: {{ include "raywarden.image" $chart }}
    {{- with $chart.Values.image.pullPolicy }}
    imagePullPolicy: {{ . }}
    {{- end }}
    args: {{ .args | toJson }}
    env:
      - name: RAYWARDEN_NAMESPACE
        valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
    resources:
      requests: {cpu: 100m, memory: 128Mi}
      limits: {cpu: "1", memory: 512Mi}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
{{- end }}
