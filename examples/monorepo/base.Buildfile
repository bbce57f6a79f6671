FROM busybox
ARG PAUSE=0
RUN sleep "$PAUSE" && mkdir /srv && echo "certificates, time zones" >/srv/base
