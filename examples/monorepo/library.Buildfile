FROM runtime
ARG PAUSE=0
ARG LIBRARY
COPY library.txt /srv/
RUN sleep "$PAUSE" && cat /srv/runtime /srv/library.txt >"/srv/$LIBRARY"
