#!/bin/bash
# Renders the chart to the manifests of deploy/: install.yaml, the files of deploy/kustomization.yaml, and those
# of deploy/components.
#
# HELM    helm v4; default: the one that hack/controlplane.sh builds
# usage: hack/manifests.sh [DIRECTORY]    default: deploy
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-deploy}
helm=${HELM:-$(hack/controlplane.sh)/helm}
head="# Rendered from the chart: make manifests."
# Plain manifests are there without Helm's memory of them: deleting them deletes the definitions.
values=namespace.create=true,crds.keep=false
options=networkPolicy.enabled=true,podMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true

render() {
    "$helm" template kube-dhcp deploy/helm/kube-dhcp --namespace kube-dhcp-system --set "$values" "$@" |
        sed -e 's/ *$//' -e '/^# Source: /d' | cat -s
}
part() { # FILE TEMPLATE [OPTION...]
    mkdir -p "$(dirname "$fresh/$1")"
    { echo "$head"; render --show-only "templates/$2" "${@:3}"; } >"$fresh/$1"
}

# All of them or none.
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

for file in namespace.yaml rbac/agent.yaml rbac/controller.yaml rbac/users.yaml policy.yaml agent.yaml controller.yaml; do
    part $file $file
done
part components/network-policy/networkpolicy.yaml networkpolicy.yaml --set "$options"
for file in podmonitor.yaml prometheusrule.yaml dashboard.yaml; do
    part components/monitoring/$file $file --set "$options"
done
{ echo "$head"; render; } >"$fresh/install.yaml"
mkdir -p "$out"
cp -R "$fresh/." "$out"
