"""Which devices may speak: the registry, Vedette's own certificate authority, the broker's files, the bundles.

    enrol ─► registry.json ─► gate (bridge: refuses who is revoked or, if asked to, unknown)
       │            └───────► crl.pem, acl (broker: refuses the certificate, and what it had subscribed to)
       └───► NAME.vedette: one file that a technician carries to the device

Modules: `registry` (who), `authority` (keys and certificates), `bundle`, `broker` (mosquitto's folder), `desk`
(what `vedette devices` does with all of them), `gate` (for the bridge).
"""
