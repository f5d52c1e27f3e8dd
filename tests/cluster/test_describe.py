"""`describe` writes what kubectl 1.36 writes, from objects alone: nothing here asks a kernel."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from netlab.kubernetes.defaults import complete_deployment, complete_pod
from netlab.kubernetes.describing import describe_object
from netlab.kubernetes.kubelet import Event
from netlab.kubernetes.manifests import Key
from netlab.kubernetes.store import Store, now

STARTED = "2026-01-02T03:04:05Z"
SHOWN = dt.datetime.fromisoformat(STARTED).astimezone().strftime("%a, %d %b %Y %H:%M:%S %z")
POD = """\
Name:             web-1
Namespace:        default
Priority:         0
Service Account:  default
Node:             node-1/192.168.1.11
Start Time:       {time}
Labels:           app=web
                  tier=front
Annotations:      note: short
Status:           Running
IP:               10.244.1.2
IPs:
  IP:           10.244.1.2
Controlled By:  Deployment/web
Containers:
  echo:
    Container ID:  netlab://1
    Image:         nginx:1.29
    Image ID:{blank}
    Ports:         8080/TCP (http), 53/UDP
    Host Ports:    80/TCP (http), 0/UDP
    Command:
      sh
      -c
    State:          Running
      Started:      {time}
    Last State:     Terminated
      Reason:       Error
      Exit Code:    3
      Started:      {time}
      Finished:     {time}
    Ready:          True
    Restart Count:  1
    Limits:
      cpu:  100m
    Requests:
      cpu:      100m
      memory:   64Mi
    Readiness:  exec [true] delay=5s timeout=1s period=10s successThreshold=1 failureThreshold=3
    Environment Variables from:
      settings  ConfigMap  Optional: false
    Environment:
      MODE:   fast
      ME:     10.244.1.2 (v1:status.podIP)
      LEVEL:  <set to the key 'level' of config map 'settings'>  Optional: false
    Mounts:   <none>
Conditions:
  Type    Status
  Ready   True{space}
Volumes:  <none>
QoS Class:       Burstable
Node-Selectors:  disk=ssd
Tolerations:     node.kubernetes.io/not-ready:NoExecute op=Exists for 300s
                 node.kubernetes.io/unreachable:NoExecute op=Exists for 300s
Events:
  Type     Reason  Age               From     Message
  ----     ------  ----              ----     -------
  Warning  Failed  0s (x2 over 0s)   kubelet  no
  Normal   Killed  0s                kubelet  yes
"""
CONTAINER = {
    "name": "echo",
    "image": "nginx:1.29",
    "command": ["sh", "-c"],
    "ports": [
        {"name": "http", "containerPort": 8080, "hostPort": 80},
        {"containerPort": 53, "protocol": "UDP"},
    ],
    "resources": {"limits": {"cpu": "0.1"}, "requests": {"memory": "64Mi"}},
    "readinessProbe": {"exec": {"command": ["true"]}, "initialDelaySeconds": 5},
    "envFrom": [{"configMapRef": {"name": "settings"}}],
    "env": [
        {"name": "MODE", "value": "fast"},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
    ],
}
STATE = {
    "name": "echo",
    "containerID": "netlab://1",
    "state": {"running": {"startedAt": STARTED}},
    "lastState": {
        "terminated": {"exitCode": 3, "reason": "Error", "startedAt": STARTED, "finishedAt": STARTED},
    },
    "ready": True,
    "restartCount": 1,
}


def stored(*objects: dict[str, Any]) -> Store:
    """Return a store with some objects."""
    store = Store()
    for data in objects:
        store.put(data)
    return store


def squeezed(text: str) -> str:
    """Return a text with every run of spaces inside a line as two."""
    return re.sub(r"(?<=\S) {2,}", "  ", text)


def test_a_pod_is_described_to_the_letter() -> None:
    """All blocks: what it runs, its states, its environment, its conditions and its events."""
    pod = {
        "kind": "Pod",
        "metadata": {
            "name": "web-1",
            "namespace": "default",
            "labels": {"tier": "front", "app": "web"},
            "annotations": {"note": "short"},
            "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}],
        },
        "spec": {
            **complete_pod({"containers": [CONTAINER], "nodeSelector": {"disk": "ssd"}}),
            "nodeName": "node-1",
        },
        "status": {
            "phase": "Running",
            "hostIP": "192.168.1.11",
            "podIP": "10.244.1.2",
            "podIPs": [{"ip": "10.244.1.2"}],
            "startTime": STARTED,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [STATE],
        },
    }
    key = Key("Pod", "default", "web-1")
    events = [Event(now(), key, "Warning", "Failed", "no")] * 2 + [Event(now(), key, "Normal", "Killed", "yes")]
    store = stored(pod)
    text = describe_object(store, store.get(key), [*events, Event(now(), Key("Pod", "x", "y"), "", "", "")])
    wanted = POD.format(time=SHOWN, blank=" " * 7, space=" ").rstrip("\n")
    assert squeezed(text).splitlines() == squeezed(wanted).splitlines()
    # The columns: what stands below each other is one column until a line has no more cells.
    assert "\nPriority:         0\n" in text
    assert "\n    Ports:         8080/TCP (http), 53/UDP\n" in text
    assert "\n    Restart Count:  1\n" in text


def test_a_service_is_described_with_all_it_has() -> None:
    """Ports with names, endpoints after the third counted, and what only some Services have."""
    service = {
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "ipFamilyPolicy": "SingleStack",
            "ipFamilies": ["IPv4"],
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "externalIPs": ["192.0.2.1"],
            "ports": [
                {"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP", "nodePort": 30080},
                {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP", "appProtocol": "dns"},
            ],
            "sessionAffinity": "None",
            "externalTrafficPolicy": "Local",
            "internalTrafficPolicy": "Cluster",
            "healthCheckNodePort": 30999,
            "loadBalancerSourceRanges": ["10.0.0.0/8", "192.0.2.0/24"],
            "trafficDistribution": "PreferSameZone",
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1", "ipMode": "VIP"}, {"hostname": "lb.test"}]}},
    }
    piece = {
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            *({"addresses": [f"10.244.1.{number}"]} for number in range(2, 7)),
            {"addresses": ["10.244.1.9"], "conditions": {"ready": False}},
        ],
    }
    store = stored(service, piece)
    text = squeezed(describe_object(store, store.get(Key("Service", "default", "web")), []))
    assert text.splitlines()[4:] == [
        "Selector:  <none>",
        "Type:  LoadBalancer",
        "IP Family Policy:  SingleStack",
        "IP Families:  IPv4",
        "IP:  10.96.0.1",
        "IPs:  10.96.0.1",
        "External IPs:  192.0.2.1",
        "LoadBalancer Ingress:  198.51.100.1 (VIP), lb.test",
        "Port:  http  80/TCP",
        "TargetPort:  web/TCP",
        "NodePort:  http  30080/TCP",
        "Endpoints:  10.244.1.2:8080,10.244.1.3:8080,10.244.1.4:8080 + 2 more...",
        "Port:  dns  53/UDP",
        "TargetPort:  53/UDP",
        "AppProtocol:  dns",
        "Endpoints:  ",
        "Session Affinity:  None",
        "External Traffic Policy:  Local",
        "Internal Traffic Policy:  Cluster",
        "HealthCheck NodePort:  30999",
        "LoadBalancer Source Ranges:  10.0.0.0/8,192.0.2.0/24",
        "Traffic Distribution:  PreferSameZone",
        "Events:  <none>",
    ]
    piece_text = squeezed(describe_object(store, store.get(Key("EndpointSlice", "default", "web-1")), []))
    assert "  Name  Port  Protocol\n  ----  ----  --------\n  http  8080  TCP\nEndpoints:\n" in piece_text
    assert "  - Addresses:  10.244.1.9\n    Conditions:\n      Ready:  false\n" in piece_text


def test_a_deployment_is_described_with_its_template() -> None:
    """What the API server adds by default is shown: the strategy, and the protocol of a port."""
    container = {"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers": [container]}}}
    status = {"replicas": 1, "conditions": [{"type": "Available", "status": "True", "reason": "Because"}]}
    metadata = {"name": "web", "namespace": "default"}
    store = stored(
        {"kind": "Deployment", "metadata": metadata, "spec": complete_deployment(spec), "status": status},
    )
    text = squeezed(describe_object(store, store.all("Deployment")[0], []))
    assert "Replicas:  1 desired | 0 updated | 1 total | 0 available | 0 unavailable\n" in text
    assert "StrategyType:  RollingUpdate\nMinReadySeconds:  0\n" in text
    assert "RollingUpdateStrategy:  25% max unavailable, 25% max surge\nPod Template:\n  Labels:  <none>\n" in text
    assert "  Containers:\n   c:\n    Image:  nginx\n    Port:  80/TCP\n    Host Port:  0/TCP\n" in text
    assert "Conditions:\n  Type  Status  Reason\n  ----  ------  ------\n  Available  True  Because\n" in text
