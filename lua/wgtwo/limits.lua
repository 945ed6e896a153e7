--- Environments, defaults and the platform's limits: the one place for addresses and numbers.
--
-- Each entry says where it comes from: "platform" is the platform's published documentation and definitions,
-- "gRPC" a property of the transport, "3GPP" the SMS standards, "own" a choice of this rock. Times are seconds.
--
-- @module wgtwo.limits

local limits = {}

--- Where the API is, by the name that `env` or WGTWO_ENV has.
-- platform: its list of hosts; a subscription lives in one region.
limits.environments = {
  sandbox    = { target = "sandbox.api.shamrock.wgtwo.com:443" },
  eu         = { target = "api.shamrock.wgtwo.com:443" },
  us         = { target = "api.oak.wgtwo.com:443" },
  sakura     = { target = "api.sakura.wgtwo.com:443" },
  production = { target = "api.wgtwo.com:443" }, -- the guides' spelling, from before there were regions
  -- own: the sandbox of this rock; its HTTP address is in the variable, the rest is found there
  ["local"]  = { variable = "WGTWO_SANDBOX" },
}

--- Environment variables that give defaults (own; CLIENT_ID and CLIENT_SECRET as in the platform's guides).
limits.variables = {
  environment = { "WGTWO_ENV" },
  client_id = { "WGTWO_CLIENT_ID", "CLIENT_ID" },
  client_secret = { "WGTWO_CLIENT_SECRET", "CLIENT_SECRET" },
}

--- OAuth 2.0.
limits.oauth = {
  -- platform: one identity host for every region and the sandbox, and its endpoints
  identity = "https://id.wgtwo.com",
  paths = {
    authorize = "/oauth2/auth", token = "/oauth2/token", revoke = "/oauth2/revoke", userinfo = "/userinfo",
    logout = "/oauth2/sessions/logout", keys = "/.well-known/jwks.json",
  },
  authorize_url = "https://id.wgtwo.com/oauth2/auth",
  token_url = "https://id.wgtwo.com/oauth2/token",
  revoke_url = "https://id.wgtwo.com/oauth2/revoke",
  userinfo_url = "https://id.wgtwo.com/userinfo",
  state_min = 8,        -- platform: `state` has at least 8 characters
  lifetime = 3599,      -- platform: the usual expires_in; used where an answer has none
  renew_before = 120,   -- own: renewal starts this long before expiry, while the old token serves
  timeout = 10,         -- own: one token request
  max_answer = 1 << 20, -- own: bytes of an answer of the identity host; a token answer has about 1 KiB
  backoff = { initial = 0.5, max = 30, attempts = 5 }, -- own: network errors, 429 and 5xx
}

--- Channels and calls.
limits.keepalive = {
  time = 65,            -- platform: a ping a minute, 1 to 5 minutes allowed; 5 s over, so as never to be early
  timeout = 10,         -- platform
  without_calls = true, -- platform
}
limits.keepalive_max = 300    -- platform: at most 5 minutes; idle connections vanish silently after 350 s
limits.connect_timeout = 5    -- own: a peer that accepts and stays silent; gRPC's own default is 20 s
limits.timeout = 10           -- own: unary calls; streams have no deadline
limits.max_message_size = 4 * 1024 * 1024 -- gRPC: its default for received messages, in bytes
limits.reconnect_backoff = { initial = 1, max = 30 } -- own: between attempts of gRPC to connect
limits.close_timeout = 5      -- own: closing a client waits this long for acknowledgements
limits.timeout_max = 365 * 24 * 3600 -- own: any timeout; keeps sums of times exact and rejects milliseconds-for-seconds
limits.connection_age = 3600  -- platform: 60 min ± 6 min, then ended gracefully; reconnecting is the answer

--- What subscriptions do when their stream ends (own; the platform asks for reconnecting, and for patience after
-- authentication errors, without numbers).
limits.reconnect = {
  initial = 0.5, max = 30, factor = 2, -- exponential with full jitter
  healthy = 60,                        -- a stream that lived this long resets the backoff
  unauthenticated = 10,                -- first wait after UNAUTHENTICATED
  final = { PERMISSION_DENIED = true, INVALID_ARGUMENT = true, UNIMPLEMENTED = true }, -- end the iteration
}

--- Acknowledgements.
limits.ack = {
  timeout = 10,                         -- own: one attempt
  backoff = { initial = 0.1, max = 5 }, -- own: between attempts, until the event's ack timeout is over
  in_flight = 256,                      -- own: calls at a time
  queue = 4096,                         -- own: those that wait for a place in flight; then `event:ack` waits
}

--- Event streams of `wgtwo.events.v0`.
limits.events_v0 = {
  subscribe = "wgtwo.events.v0.EventsService/Subscribe",
  ack = "wgtwo.events.v0.EventsService/Ack",
  history = 30 * 60,       -- platform: how far back events are kept
  position_kept = 3600,    -- platform: of a durable subscription, after the last disconnect
  -- platform: the recommendation for production is 50 in flight and 30 s; limits and defaults are undocumented.
  -- own: what is checked is that the values fit the fields: a uint32, and a positive Duration within the history
  max_in_flight = { min = 1, max = 0xFFFFFFFF, default = 50 },
  ack_timeout = { min = 0.001, max = 30 * 60, default = 30 },
  -- platform: the scope follows the event type; false: none is needed; "undocumented": none is known, none asked for
  scopes = {
    VOICE_EVENT = "events.voice.subscribe",
    VOICEMAIL_EVENT = "events.voicemail.subscribe",
    LOCATION_UPDATE_EVENT = "events.location.subscribe",
    COUNTRY_CHANGE_EVENT = "events.roaming.subscribe",
    SMS_EVENT = "events.sms.subscribe",
    SMS_DELIVERY_REPORT_EVENT = "events.sms_delivery_report.subscribe",
    HANDSET_UPDATE_EVENT = "events.handset_update.subscribe",
    CONSENT_REVOKE_EVENT = false,
    TOKEN_AUDIT_EVENT = "undocumented",
    FIRST_ATTACHMENT_EVENT = "undocumented",
    PERIODIC_COUNTRY_EVENT = "undocumented",
  },
  -- platform: the member of Event's oneof that carries each type
  fields = {
    VOICE_EVENT = "voice_event",
    VOICEMAIL_EVENT = "voicemail_event",
    LOCATION_UPDATE_EVENT = "location_update_event",
    COUNTRY_CHANGE_EVENT = "country_change_event",
    TOKEN_AUDIT_EVENT = "token_audit_event",
    SMS_EVENT = "sms_event",
    SMS_DELIVERY_REPORT_EVENT = "sms_delivery_report_event",
    CONSENT_REVOKE_EVENT = "consent_revoke_event",
    HANDSET_UPDATE_EVENT = "handset_update_event",
    FIRST_ATTACHMENT_EVENT = "first_attachment_event",
    PERIODIC_COUNTRY_EVENT = "periodic_country_event",
  },
}

--- The scope that a v0 subscription to these event types needs.
-- @tparam string event_type such as "SMS_EVENT"
-- @treturn ?string the scope, nil where none is needed or none is documented
-- @usage limits.v0_scope("SMS_EVENT") --> "events.sms.subscribe"
function limits.v0_scope(event_type)
  local scope = limits.events_v0.scopes[event_type]
  return scope and scope ~= "undocumented" and scope or nil
end

local function v1(service, stream, ack, field, scope)
  return { stream = service .. "/" .. stream, ack = service .. "/" .. ack, field = field, scope = scope }
end
local subscription, consents = "wgtwo.subscription.v1.SubscriptionEventService", "wgtwo.consents.v1.ConsentEventService"

--- Event streams of v1: one pair of stream and ack a domain (platform).
limits.events_v1 = {
  max_in_flight = { min = 1, max = 200, default = 50 }, -- platform
  ack_timeout = { min = 10, max = 600, default = 30 },  -- platform: 10 s to 10 min
  position_kept = 3600, -- platform: 1 hour; the same text also says 30 minutes
  success = "STATUS_CODE_SUCCESS", -- platform: any other ack status is a failed ack
  streams = {
    handset_change = v1(subscription, "StreamHandsetChangeEvents", "AckHandsetChangeEvent", "handset_change_event",
      "subscription.handset_details:read"),
    first_attachment = v1(subscription, "StreamFirstAttachmentEvents", "AckFirstAttachmentEvent",
      "first_attachment_event", "subscription.first_attachment:read"),
    country_change = v1(subscription, "StreamCountryChangeEvents", "AckCountryChangeEvent", "country_change_event",
      "subscription.country_change:read"),
    periodic_country = v1(subscription, "StreamPeriodicCountryEvents", "AckPeriodicCountryEvent",
      "periodic_country_event", "subscription.periodic_country:read"),
    consent_change = v1(consents, "StreamConsentChangeEvents", "AckConsentChangeEvent", "consent_change_event", nil),
  },
}

--- SMS.
limits.sms = {
  text_max = 2000,                 -- platform: characters of a text; one outside the BMP counts 2
  data_max = 2000,                 -- platform: bytes of data
  deadline_max = 7 * 24 * 3600,    -- platform: delivery_deadline
  e164_digits = { min = 2, max = 15 }, -- ITU-T E.164: at most 15 digits, no leading zero
  gsm7_single = 160, gsm7_part = 153,  -- platform: 160 in one SMS; 3GPP TS 23.040: 6 bytes of header in a part
  ucs2_single = 70, ucs2_part = 67,    -- 3GPP TS 23.040, in UTF-16 code units
  data_single = 140, data_single_ports = 133, -- platform: bytes in one SMS, without and with ports
  final = { SEND_STATUS_REJECT = true },      -- platform: do not retry
  temporary = { SEND_STATUS_ERROR = true },   -- platform: may be tried again
}

--- Number lookup (platform).
limits.lookup = {
  name_max = 60, -- characters of result.name
  max_age = { min = 15 * 60, default = 24 * 3600 },
}

--- The scheduler (own).
limits.loop = {
  nested = 30, -- waits inside waits that still run other tasks; Lua allows about 200 nested C calls in all
}

return limits
