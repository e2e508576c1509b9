#!/bin/sh
# Run once in a Debian that has the packages beside this file: what the Dockerfile and
# scripts/make-base-image do alike, so that both give the same image.
set -eu

groupadd --gid 60700 agent
useradd --uid 60700 --gid 60700 --home-dir /home/agent --shell /bin/bash --no-log-init agent
# Where sandboxes mount what is theirs; the root itself is read-only in them.
for place in /workspace /env /home/agent /tests /logs; do
    install -d -o agent -g agent "$place"
done

rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /tmp/* \
    /usr/share/man/* /usr/share/info/* /usr/share/locale/*
# Licences stay.
find /usr/share/doc -type f ! -name copyright -delete
