"""Fill in what the API server adds to pods and Deployments. Pure.

Only what kubectl shows, or what something here obeys. Source: SetDefaults_PodSpec and others in
pkg/apis/core/v1/defaults.go and pkg/apis/apps/v1/defaults.go; plugin/pkg/admission/defaulttolerationseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Object = dict[str, Any]

_PATIENCE = 300
_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _PATIENCE}
    for what in ("not-ready", "unreachable")
]
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_ROLLING = {"maxSurge": "25%", "maxUnavailable": "25%"}


def complete_pod_spec(given: Mapping[str, Any]) -> Object:
    """Return the spec of a pod, or of a Deployment's template, as the API server stores it."""
    spec = _given(given)
    return {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        **spec,
        "containers": [_container(each) for each in spec["containers"]],
    }


def complete_pod(given: Mapping[str, Any]) -> Object:
    """Return the spec of a pod of its own: what admission adds to one is not in a template."""
    spec = complete_pod_spec(given)
    tolerations = list(spec.get("tolerations") or ())
    keys = {each.get("key") for each in tolerations if each.get("effect") in {None, "", "NoExecute"}}
    more = [] if None in keys else [dict(each) for each in _TOLERATIONS if each["key"] not in keys]
    return {
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "serviceAccount": "default",
        "serviceAccountName": "default",
        **spec,
        "tolerations": [*tolerations, *more],
    }


def complete_deployment(given: Mapping[str, Any]) -> Object:
    """Return the spec of a Deployment as the API server stores it."""
    spec = _given(given)
    strategy = _given(spec.get("strategy") or {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {**_ROLLING, **_given(strategy.get("rollingUpdate") or {})}
    return {
        "progressDeadlineSeconds": 600,
        "replicas": 1,
        "revisionHistoryLimit": 10,
        **spec,
        "strategy": strategy,
        "template": {**spec["template"], "spec": complete_pod_spec(spec["template"]["spec"])},
    }


def _container(given: Mapping[str, Any]) -> Object:
    container = _given(given)
    image = str(container.get("image") or "")
    latest = image.rpartition("/")[2].partition(":")[2] in {"", "latest"} and "@" not in image
    done = {
        "imagePullPolicy": "Always" if latest else "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **container,
        "resources": _resources(container.get("resources") or {}),
    }
    if "ports" in done:
        done["ports"] = [{"protocol": "TCP", **_given(port)} for port in done["ports"]]
    if "env" in done:
        done["env"] = [_variable(each) for each in done["env"]]
    for key in _PROBES:
        if key in done:
            done[key] = _probe(done[key])
    return done


def _resources(given: Mapping[str, Any]) -> Object:
    """Ask for as much as the limit is, where nothing else is asked for."""
    limits = given.get("limits") or {}
    return {**given, "requests": {**limits, **(given.get("requests") or {})}} if limits else dict(given)


def _variable(given: Mapping[str, Any]) -> Object:
    source = given.get("valueFrom") or {}
    if "fieldRef" not in source:
        return dict(given)
    return {**given, "valueFrom": {**source, "fieldRef": {"apiVersion": "v1", **source["fieldRef"]}}}


def _probe(given: Mapping[str, Any]) -> Object:
    numbers = {"failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1}
    probe = {**numbers, **_given(given)}
    if "httpGet" in probe:
        probe["httpGet"] = {"path": "/", "scheme": "HTTP", **_given(probe["httpGet"])}
    return probe


def _given(fields: Mapping[str, Any]) -> Object:
    """Return the fields that have a value: null stands for an absent one."""
    return {key: value for key, value in fields.items() if value is not None}
