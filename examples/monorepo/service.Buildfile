# Two branches that do not need each other, and an image of what both made.
FROM library AS program
ARG PAUSE=0
ARG SERVICE
COPY service.txt /src/
RUN sleep "$PAUSE" && cat /srv/* /src/service.txt >"/src/$SERVICE"

FROM library AS documentation
ARG PAUSE=0
ARG SERVICE
RUN sleep "$PAUSE" && echo "how to use $SERVICE" >/manual

FROM library
ARG SERVICE
COPY --from=program /src/$SERVICE /usr/bin/
COPY --from=documentation /manual /usr/share/
ENV SERVICE=$SERVICE
CMD ["sh", "-c", "cat \"/usr/bin/$SERVICE\""]
