--- The sandbox's settings: what may be set, and what each is when nothing is said.
--
-- They come from `wgtwo.sandbox.start{…}`, from the command line, or from a file of JSON. Where the platform's
-- documentation says a number, it is the default here; where it says none, the comment says "undocumented".
--
-- @module wgtwo.sandbox.settings

local limits = require "wgtwo.limits"
local numbers = require "wgtwo.sandbox.numbers"
local options = require "wgtwo.options"

local settings = {}

local text = { type = "string", nonempty = true }
local names = { type = "list", of = text }
local pool = { type = "list", nonempty = true, of = { type = "string", check = function(number)
  return numbers.is_e164(number), "not a number in E.164 form, such as +4799990001"
end } }
local port = { type = "integer", min = 0, max = 65535, default = 0 }

-- What is announced is localhost and 127.0.0.1: the certificate is for these, and other hosts' requests are refused.
local function is_host(host)
  return host == "127.0.0.1" or host == "0.0.0.0",
    '"127.0.0.1", or "0.0.0.0" for every interface, such as that of a container: a sandbox serves its own machine'
end

local pem = { type = "string", check = function(value)
  return value:find("-----BEGIN CERTIFICATE-----", 1, true) ~= nil, "the text of a certificate in PEM is needed, "
    .. "not the path of its file"
end }

local function seconds(default)
  return { type = "number", min = 0, max = limits.timeout_max, unit = "seconds", default = default }
end

local function count(default)
  return { type = "integer", min = 1, default = default }
end

local client = { type = "table", fields = {
  id = { type = "string", nonempty = true, required = true },
  secret = { type = "string", nonempty = true, required = true, secret = true },
  scopes = names,        -- nil: every scope
  redirect_uris = names, -- nil: any
  numbers = pool,        -- the subscribers of its fake events
} }

local plan = { type = "table", fields = {
  types = { type = "list", nonempty = true, of = text }, -- nil: all there are
  rate = { type = "number", above = 0, max = 1e5, unit = "events a second", default = 1 },
  numbers = pool, client = text,
} }

--- Rules as `wgtwo.options` takes them.
settings.spec = {
  clock = { type = "string", one_of = { "real", "virtual" }, default = "real" },
  seed = { type = "integer", default = 1 },
  strict = { type = "boolean", default = false },       -- a call without a token is refused
  state = text,                                         -- a file that keeps everything over a restart
  clients = { type = "list", nonempty = true, of = client },
  generate = { type = "table" },                        -- a plan of fake events, or a list of them; {}: none
  numbers = pool,                                       -- the subscribers of fake events

  port = port, plaintext_port = port, http_port = port, -- 0: chosen by the kernel
  host = { type = "string", default = "127.0.0.1", check = is_host },
  max_message_size = { type = "integer", min = 1024, max = 0x7FFFFFFF, default = 64 * 1024 * 1024 },
  wire = { type = "boolean", default = false },         -- forwarders in front of the ports, for faults of the wire
  client_ca = pem,                                      -- PEM: TLS asks clients for a certificate of this authority

  history = seconds(limits.events_v0.history),
  history_events = count(100000),                       -- undocumented: how many events at most
  position_kept = seconds(limits.events_v0.position_kept),
  v0_ack_timeout = { type = "number", above = 0, default = limits.events_v0.ack_timeout.default }, -- undocumented
  v0_max_in_flight = count(limits.events_v0.max_in_flight.default),                                -- undocumented
  connection_age = seconds(limits.connection_age),      -- 0: no limit
  connection_age_spread = seconds(limits.connection_age / 10),
  stream_limit = seconds(0),                            -- undocumented: streams end after so long; 0: they do not
  expires_in = seconds(limits.oauth.lifetime),
  narrow_scopes = { type = "boolean", default = false }, -- undocumented when: a token has fewer scopes than asked for
  numbers_without_plus = { type = "boolean", default = false }, -- undocumented when: v0 events leave the plus out
  subscribers = { type = "list", of = text, default = numbers.SUBSCRIBER_PREFIXES }, -- prefixes, undocumented
  delivery_report_delay = seconds(0),                   -- undocumented
  consent = { type = "string", one_of = { "auto", "page" }, default = "auto" },
  journal = count(1000), journal_messages = count(20),  -- calls; messages of one call in each direction
}

--- The client that there is when none is given: it has every scope.
settings.CLIENT = { id = "id", secret = "secret" }

--- The ids of the clients, as a set.
-- @raise two have the same: the secret of one would be wrong
local function ids_of(where, clients, level)
  local ids = {}
  for _, one in ipairs(clients) do
    if ids[one.id] then
      error(("%s: clients: two have the id %q; each needs one of its own"):format(where, one.id), level + 1)
    end
    ids[one.id] = true
  end
  return ids
end

local function is_list(value)
  return value[1] ~= nil or next(value) == nil
end

--- Checks settings and fills in what is not given.
-- @tparam string where whose options they are, for messages
-- @tparam ?table given
-- @tparam[opt=2] int level of the error
-- @treturn table
-- @raise what is wrong
function settings.check(where, given, level)
  level = (level or 2) + 1
  local checked = options.check(where, given, settings.spec, level)
  checked.clients = checked.clients or { settings.CLIENT }
  checked.numbers = checked.numbers or numbers.POOL
  local ids = ids_of(where, checked.clients, level)
  if checked.generate then
    local plans = is_list(checked.generate) and checked.generate or { checked.generate }
    checked.generate = options.check(where, { generate = plans },
      { generate = { type = "list", of = plan } }, level).generate
    local kinds = require "wgtwo.sandbox.kinds"
    for _, one in ipairs(checked.generate) do
      if one.client and not ids[one.client] then
        local wrong = ("there is no client %q"):format(one.client) .. options.suggestion(one.client, ids)
        error(("%s: generate: %s"):format(where, wrong), level)
      end
      for _, name in ipairs(one.types or {}) do
        local kind, wrong = kinds.get(name)
        if not kind then error(("%s: generate: %s"):format(where, wrong), level) end
      end
    end
  end
  return checked
end

return settings
