FROM python

RUN export DEBIAN_FRONTEND=noninteractive \
 && apt-get update \
 && apt-get install -y --no-install-recommends python3-markdown \
 && rm -rf /var/lib/apt/lists/*

COPY docs/ /opt/ci-docs/
RUN python3 /opt/ci-docs/render.py /opt/ci-docs /tmp/site \
 && rm -r /tmp/site
USER ci
