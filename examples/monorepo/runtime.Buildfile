# The context `base` is the target of that name.
FROM base
ARG PAUSE=0
ARG LANGUAGE
RUN sleep "$PAUSE" && echo "the runtime of $LANGUAGE" >/srv/runtime
