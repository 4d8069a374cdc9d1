# All that a change has to pass is `make test`; everything that a newcomer needs is `make demo`.

.DEFAULT_GOAL := help
CARGO ?= cargo

.PHONY: help demo cluster-demo test test-vm test-skew test-cluster test-deb soak bench bench-cluster build deb image crds manifests \
	docs book lint deny packages test-packages controlplane nodes

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: packages ## Serve a real guest on this machine, and clean up (root; six to ten minutes the first time)
	@hack/demo.sh

cluster-demo: packages controlplane ## A control plane, three nodes, a lease, a node that dies (root, Go; eight minutes more the first time)
	@hack/cluster-demo.sh

test: ## All checks and tests, with a summary (root, Go; forty minutes the first time, then some twelve)
	@CARGO="$(CARGO)" hack/test.sh

test-vm: test-packages ## What this machine's kernel may not have, in another one: VLANs (root, x86-64)
	$(CARGO) test --locked --test agent vlans:: -- --include-ignored --nocapture

test-skew: test-packages controlplane ## Beside an older program, KUBE_DHCP_PREVIOUS=/…/kube-dhcp: agents, controllers (root, Go)
	$(CARGO) test --locked --test cluster skew::previous -- --ignored --nocapture --test-threads=1

test-cluster: test-packages controlplane nodes ## The image and deploy/ on real nodes, kubelet and containerd (root, Go)
	$(CARGO) test --locked --test nodes -- --ignored --nocapture --test-threads=1

test-deb: ## The Debian package in a Debian that systemd boots: installed, upgraded, removed (root)
	@hack/packages.sh deb
	KUBE_DHCP_DEB=$$(hack/deb.sh) KUBE_DHCP_DEBIAN=$$(hack/debian.sh) \
		$(CARGO) test --locked --test package -- --ignored --nocapture

soak: test-packages controlplane ## Random faults for KUBE_DHCP_SOAK_MINUTES (30) in a cluster; KUBE_DHCP_TEST_SEED repeats them (root)
	$(CARGO) test --locked --test cluster chaos::soak -- --ignored --exact --nocapture

bench: packages ## Measure against the budgets, side by side with a floor (root)
	$(CARGO) bench --locked --bench budgets

bench-cluster: packages controlplane ## Many Ports through a real API server (root; KUBE_DHCP_LOAD_*: its size)
	$(CARGO) bench --locked --bench cluster

build: ## The program: target/release/kube-dhcp
	$(CARGO) build --locked --release

deb: ## A Debian package with a systemd unit: target/debian/kube-dhcp_VERSION-1_ARCHITECTURE.deb
	@hack/deb.sh

image: ## The image, from the Dockerfile (buildah, podman or docker)
	@hack/image.sh

crds: ## Write crds/ and the chart's copy anew from the types; make manifests is needed after
	$(CARGO) run --locked --quiet -- crds --out crds
	cp crds/*s.yaml deploy/helm/kube-dhcp/files/crds

manifests: ## Render the chart anew to deploy/install.yaml and what deploy/kustomization.yaml names (Go)
	@hack/manifests.sh

docs: ## Write the generated pages and tables in docs/ anew
	KUBE_DHCP_WRITE_DOCS=1 $(CARGO) test --locked --lib -q in_the_docs

book: ## docs/ as a book: target/book/docs/index.html (mdbook; hack/book.sh install)
	@hack/book.sh

lint: ## Format and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

deny: ## Licences and sources of all dependencies (needs cargo-deny)
	$(CARGO) deny --locked check licenses bans sources

packages: ## Install what the demo needs
	@hack/packages.sh

test-packages: ## Install what the tests need
	@hack/packages.sh test

controlplane: ## Build the Kubernetes API server that tests run against, once (needs Go)
	@hack/controlplane.sh >/dev/null

nodes: ## Build what real nodes of tests run, once: kubelet, containerd (Go); and the image of this program
	@hack/packages.sh nodes
	@hack/nodes.sh >/dev/null
	$(CARGO) test --locked --no-run --test nodes
	@hack/node-images.sh "$$($(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/kube-dhcp" >/dev/null
