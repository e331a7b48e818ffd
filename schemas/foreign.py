"""What other tools' manifests say where ours say it differently: kinds of Kubernetes, fields of Compose and Kubernetes.

Called where a kind or a field is refused, for a better remedy than the nearest name. What only has another name here
(`env` for `environment`) is in `nearest`.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.names import Kind

KINDS: Mapping[str, str] = {
    "ConfigMap": "write kind: Config",
    "CronJob": "write kind: Container with restart: no, and start it by a timer of the host",
    "DaemonSet": "write kind: Service, with deploy: {replicas: …}",
    "Deployment": "write kind: Service, with deploy: {replicas: …}",
    "Ingress": "write ports: in the Service itself",
    "Job": "write kind: Container with restart: no",
    "Namespace": "leave it out: what is applied together is a set, as in `trimtab apply --set NAME`",
    "PersistentVolume": "write kind: Volume",
    "PersistentVolumeClaim": "write kind: Volume",
    "Pod": "write kind: Container, one for each",
    "ReplicaSet": "write kind: Service, with deploy: {replicas: …}",
    "StatefulSet": "write kind: Service, with deploy: {replicas: …}",
}
REPLICAS = "a Container is one process: write kind: Service, with deploy: {replicas: …}"
_TEMPLATE: Mapping[str, str] = {
    "build": "write kind: Image with build:, and name it with image:",
    "container_name": "leave it out: metadata.name is its name",
    "containers": "write a manifest for each, its fields in the spec itself",
    "extends": "write an anchor, and merge it with <<:",
    "external_links": "attach both to one network",
    "gpus": "name its device files below devices:, as /dev/dri",
    "label_file": "write labels:",
    "links": "write depends_on:, and aliases below networks:",
    "livenessProbe": "write healthcheck:",
    "profiles": "leave it out, and keep what is not always wanted in a directory of its own",
    "readinessProbe": "write healthcheck:",
    "resources": "write cpus:, mem_limit: and pids_limit:",
    "runtime": "leave it out: there is one runtime here",
    "scale": "write deploy: {replicas: …} in a Service",
    "securityContext": "write user:, cap_add:, cap_drop:, read_only: and security_opt:",
    "selector": "leave it out: a Service makes its replicas itself",
    "storage_opt": "mount a Volume with a size where much is written",
    "template": "write its fields in the spec itself",
    "volumes_from": "name the volumes themselves",
}
_CONTENT: Mapping[str, str] = {
    "data": "write content:, environment: or file:, one object for each content",
    "stringData": "write content:, environment: or file:, one object for each content",
}
FIELDS: Mapping[Kind, Mapping[str, str]] = {
    Kind.CONTAINER: {**_TEMPLATE, "deploy": f"{REPLICAS}; limits are cpus: and mem_limit:", "replicas": REPLICAS},
    Kind.SERVICE: {**_TEMPLATE, "container_name": "leave it out: replicas are called after the service"},
    Kind.SECRET: _CONTENT,
    Kind.CONFIG: _CONTENT,
}
TEXT_FIELDS: Mapping[str, str] = {"restart_policy": "restart"}
"""Fields that hold a map here: who writes text there means the other field."""
