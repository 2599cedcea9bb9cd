FROM python

RUN export DEBIAN_FRONTEND=noninteractive \
 && apt-get update \
 && apt-get install -y --no-install-recommends yamllint \
 && rm -rf /var/lib/apt/lists/*

COPY lint/ /etc/ci-lint/
RUN yamllint --strict -c /etc/ci-lint/yamllint.yml /etc/ci-lint
USER ci
