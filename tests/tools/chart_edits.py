"""What the templates of the Helm chart have in place of the text of the manifests."""

import textwrap
from dataclasses import dataclass

# The components that bring objects of their own, and the manifests of the base that are left out:
# under which condition the chart has them.
CONDITIONS = {
    "components/autoscaling": ".Values.autoscaling.enabled",
    "components/cert-manager": ".Values.certManager.enabled",
    "components/connect": ".Values.connect.enabled",
    "components/monitoring": ".Values.monitoring.enabled",
    "components/scan": ".Values.scan.enabled",
    # With one replica it would block the drain of its node.
    "base/disruption-budget.yaml": "or .Values.autoscaling.enabled (gt (int .Values.replicas) 1)",
    "base/priority-class.yaml": "not .Values.priorityClassName",
}


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces `old`, which stands in the manifest `times` times."""

    old: str
    new: str
    times: int = 1

    def applied(self, text: str, name: str) -> str:
        """`text` with the replacement; raises ValueError if the manifest `name` has changed."""
        count = text.count(self.old)
        if count != self.times:
            raise ValueError(f"{name}: {count} times instead of {self.times}: {self.old}")
        return text.replace(self.old, self.new)


def _unless(condition: str, text: str) -> Edit:
    """Leaves `text` out if a component takes it away."""
    return Edit(text, f"{{{{- if not {condition} }}}}\n{text}{{{{- end }}}}\n")


def _after(text: str, addition: str, times: int = 1) -> Edit:
    return Edit(text, text + addition, times)


_CONFIGURATION_RIGHTS = """\
  # The caBundle of RayWarden's own two configurations. Anyone who can patch a webhook configuration
  # can redirect every request of the cluster to themselves. The right is therefore limited by name.
  - apiGroups: [admissionregistration.k8s.io]
    resources: [mutatingwebhookconfigurations, validatingwebhookconfigurations]
    resourceNames: [raywarden]
    verbs: [get, patch]
"""
# What a component adds to a list stands first, as kustomize writes it.
_COMPONENT_ENV = """\
            {{- with include "raywarden.componentEnv" . }}
            {{- . | nindent 12 }}
            {{- end }}
"""
_SETTINGS = """\
            {{- range $name, $value := .Values.settings }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
"""
_CERTIFICATE_MOUNTS = """\
            {{- if .Values.certManager.enabled }}
            - {name: serving, mountPath: /etc/raywarden/serving, readOnly: true}
            - {name: root, mountPath: /etc/raywarden/root, readOnly: true}
            {{- end }}
"""
_CERTIFICATE_VOLUMES = """\
        {{- if .Values.certManager.enabled }}
        - name: serving
          secret: {secretName: raywarden-serving}
        - name: root
          secret: {secretName: raywarden-root}
        {{- end }}
"""
_RESOURCES = """\
            requests: {cpu: 100m, memory: 256Mi}
            # CPU: the server is one process, which uses about one core. Memory: enough for the
            # largest requests that can be in flight at the same time.
            limits: {cpu: "2", memory: 1Gi}
"""
_WEBHOOK_LABELS = """\
    admissions.enforcer/disabled: "true"
"""
_INJECT_CA = """\
  {{- if .Values.certManager.enabled }}
  annotations:
    cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/raywarden-serving
  {{- end }}
"""
_NOT_OPENSHIFT = """\
      {{- if $.Values.openshift.enabled }}
      - name: is-not-openshift-namespace
        expression: "!request.?namespace.orValue('').startsWith('openshift-')"
      {{- end }}
"""
# The webhook for pods of RayClusters has no condition of its own.
_LAST_SELECTOR = "        - {key: ray.io/cluster, operator: Exists}\n"
_OPENSHIFT_CONDITIONS = """\
    {{- if $.Values.openshift.enabled }}
    matchConditions:
    {{- end }}
"""
_DNS = "    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]\n"
_OPENSHIFT_DNS = """\
    {{- if .Values.openshift.enabled }}
    - ports:
        - {port: 53, protocol: UDP}
        - {port: 53, protocol: TCP}
        - {port: 5353, protocol: UDP}
        - {port: 5353, protocol: TCP}
    {{- else }}
"""
_POLICY_RIGHTS = """\
# What it takes to write NetworkPolicies for RayClusters; components/own-network-policies takes it
# away. The right to list and watch them is above.
"""
_PROMETHEUS = """\
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}
          podSelector: {matchLabels: {app.kubernetes.io/name: prometheus}}
"""
_PROMETHEUS_VALUES = """\
        {{- with .Values.monitoring }}
        - namespaceSelector:
            matchLabels: {kubernetes.io/metadata.name: {{ .prometheusNamespace | quote }}}
          podSelector:
            matchLabels: {{ .prometheusLabels | toJson }}
        {{- end }}
"""
_MONITORING_LABELS = Edit(
    '    {{- include "raywarden.labels" . | nindent 4 }}\n',
    '    {{- include "raywarden.labels" . | nindent 4 }}\n'
    "    {{- with .Values.monitoring.labels }}\n    {{- toYaml . | nindent 4 }}\n    {{- end }}\n",
)
_ROOT_ISSUER = "  usages: [cert sign, crl sign]\n  issuerRef: {name: raywarden-self-signed}\n"
_ROOT_ISSUER_VALUE = """\
  usages: [cert sign, crl sign]
  {{- with .Values.certManager.rootIssuer }}
  {{- if .name }}
  issuerRef: {name: {{ .name | quote }}, kind: {{ .kind | quote }}, group: {{ .group | quote }}}
  {{- else }}
  issuerRef: {name: raywarden-self-signed}
  {{- end }}
  {{- end }}
"""
_SCHEDULING = """\
      {{- with include "raywarden.scheduling" . }}
      {{- . | nindent 6 }}
      {{- end }}
"""
_IMAGE = """\
          image: {{ include "raywarden.image" . }}
          {{- with .Values.image.pullPolicy }}
          imagePullPolicy: {{ . }}
          {{- end }}
"""
# With autoscaling, each upgrade would set the number back.
_REPLICAS = """\
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicas }}
  {{- end }}
"""
_PRIORITY = "      priorityClassName: raywarden\n"
_PRIORITY_VALUE = """\
      priorityClassName: {{ .Values.priorityClassName | default "raywarden" }}
"""
_ENROLL_IMAGE = """\
            # The small image of the same version, in the same repository as the image above.
            - name: RAYWARDEN_ENROLL_IMAGE
              value: raywarden:0.1.0-enroll
"""
_ENROLL_IMAGE_VALUE = """\
            - name: RAYWARDEN_ENROLL_IMAGE
              value: {{ include "raywarden.enrollImage" . }}
"""
_USER = """\
        # The kubelet takes the user of the image, but not its group: that would be root.
        runAsUser: 65532
        runAsGroup: 65532
"""
_POD_LABELS = """\
    metadata:
      labels:
        app.kubernetes.io/name: raywarden
"""
_POD_ANNOTATIONS = """\
      {{- with .Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
"""
_LAST_BINDING = """\
  kind: Role
  name: raywarden-network-policies
subjects:
  - kind: ServiceAccount
    name: raywarden
    namespace: {{ .Release.Namespace }}
"""
_OWN_POLICIES = "components/own-network-policies takes it\n# away."

EDITS: dict[str, tuple[Edit, ...]] = {
    "base/deployment.yaml": (
        Edit("  replicas: 2\n", _REPLICAS),
        _unless(".Values.openshift.enabled", _USER),
        _after(_POD_LABELS, _POD_ANNOTATIONS),
        Edit(_PRIORITY, _PRIORITY_VALUE + _SCHEDULING),
        Edit("          image: raywarden\n", _IMAGE),
        Edit(_ENROLL_IMAGE, _ENROLL_IMAGE_VALUE + _SETTINGS),
        Edit(_RESOURCES, "            {{- toYaml .Values.resources | nindent 12 }}\n"),
        _after("          env:\n", _COMPONENT_ENV),
        _after("          volumeMounts:\n", _CERTIFICATE_MOUNTS),
        _after("      volumes:\n", _CERTIFICATE_VOLUMES),
    ),
    "base/mutating-webhook.yaml": (_after(_WEBHOOK_LABELS, _INJECT_CA),),
    "base/validating-webhook.yaml": (
        _after(_WEBHOOK_LABELS, _INJECT_CA),
        Edit("    failurePolicy: Fail\n", _NOT_OPENSHIFT + "    failurePolicy: Fail\n", times=9),
        _after(_LAST_SELECTOR, _OPENSHIFT_CONDITIONS),
        Edit("    failurePolicy: Ignore\n", _NOT_OPENSHIFT + "    failurePolicy: Ignore\n"),
    ),
    "base/network-policies.yaml": (
        Edit("../components/monitoring", "the value monitoring"),
        Edit(_DNS, _OPENSHIFT_DNS + _DNS + "    {{- end }}\n"),
    ),
    "base/rbac.yaml": (
        _unless(
            "(or .Values.certManager.enabled .Values.caBundleByHand.enabled)", _CONFIGURATION_RIGHTS
        ),
        Edit(
            _POLICY_RIGHTS,
            "{{- if not .Values.ownNetworkPolicies.enabled }}\n"
            + _POLICY_RIGHTS.replace(_OWN_POLICIES, "ownNetworkPolicies takes it\n# away."),
        ),
        _after(_LAST_BINDING, "{{- end }}\n"),
    ),
    "components/autoscaling/horizontal-pod-autoscaler.yaml": (
        Edit("minReplicas: 2", "minReplicas: {{ .Values.autoscaling.minReplicas }}"),
        Edit("maxReplicas: 6", "maxReplicas: {{ .Values.autoscaling.maxReplicas }}"),
    ),
    "components/cert-manager/certificates.yaml": (Edit(_ROOT_ISSUER, _ROOT_ISSUER_VALUE),),
    "components/monitoring/alerts.yaml": (_MONITORING_LABELS,),
    "components/monitoring/service-monitor.yaml": (_MONITORING_LABELS,),
    "components/monitoring/network-policy.yaml": (Edit(_PROMETHEUS, _PROMETHEUS_VALUES),),
    "components/scan/cron-job.yaml": (
        Edit('"17 * * * *"', "{{ .Values.scan.schedule | quote }}"),
        _after(
            "          enableServiceLinks: false\n",
            _SCHEDULING.replace("      {{", "          {{").replace("nindent 6", "nindent 10"),
        ),
        Edit("              image: raywarden\n", textwrap.indent(_IMAGE, "    ")),
    ),
    "components/scan/network-policy.yaml": (
        Edit("; ../../base/network-policies.yaml says more", ""),
    ),
}
