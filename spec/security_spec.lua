-- What must not get out: secrets and tokens, in anything that a person or a program may see.

local Api = require("spec.support.api")
local Identity = require("spec.support.identity")
local feeds = require("spec.support.feeds")
local httpd = require("wgtwo.httpd")
local wgtwo = require("wgtwo")

local SECRET = "s3cr3t-v4lue-2718"
local CONSENTS = "wgtwo.consents.v0.ConsentService/GetConsentsForSubscription"

describe("secrets", function()
  local identity, api, client, source, seen

  -- Keeps a value as text, and all texts in it.
  local function see(value, depth)
    depth = depth or 0
    seen[#seen + 1] = tostring(value)
    if type(value) == "table" and depth < 6 then
      for key, inner in pairs(value) do
        see(key, depth + 1)
        see(inner, depth + 1)
      end
    end
  end

  local function assert_hidden(...)
    local all = table.concat(seen, "\n")
    for _, secret in ipairs{ SECRET, ... } do
      assert.is_nil(all:find(secret, 1, true), secret .. " was seen in: " .. all)
    end
  end

  before_each(function()
    identity, api, seen = Identity.start(), Api.start(), {}
    source = wgtwo.oauth.client_credentials{ client_id = "my-id", client_secret = SECRET,
      token_url = identity.token_url }
    client = assert(wgtwo.connect{ target = api.target, plaintext = true, auth = source,
      logger = function(level, message, fields)
        see(level)
        see(message)
        see(fields)
      end })
  end)

  after_each(function()
    client:close()
    api:stop()
    identity:close()
  end)

  it("do not show in what objects print, or in the fields of a source", function()
    local token = assert(source:token())
    api:on(CONSENTS, function(call) call:reply{} end)
    assert(client:call(CONSENTS))
    local user = wgtwo.oauth.authorization_code{ client_id = "my-id", client_secret = SECRET, redirect_uri = "x:y",
      refresh_token = SECRET }
    for _, value in ipairs{ source, user, wgtwo.oauth.static(SECRET), client, token, client.sms } do
      seen[#seen + 1] = tostring(value)
    end
    see(source)
    see(user)
    see(wgtwo.oauth.static(SECRET))
    assert_hidden(token.access_token)
  end)

  it("do not show in the errors of an identity server that repeats them", function()
    for _, body in ipairs{
      '{"error":"invalid_client","error_description":"the secret ' .. SECRET .. ' is wrong"}',
      '{"error":"invalid_client","error_description":"client_secret=' .. SECRET .. '"}',
      '{"error":"' .. SECRET .. '"}', "<html>" .. SECRET .. "</html>", '{"access_token":"' .. SECRET .. '\\n"}',
      '{"access_token":"' .. SECRET .. '","token_type":"odd"}',
    } do
      identity.answers = { { 400, { ["Content-Type"] = "application/json" }, body } }
      local token, err = source:token()
      assert.is_nil(token)
      see(err)
    end
    assert_hidden()
  end)

  it("do not show in the error of a server that cannot be reached", function()
    identity:close()
    wgtwo.limits.oauth.backoff.initial, wgtwo.limits.oauth.backoff.max = 0.001, 0.002
    see(select(2, source:token()))
    wgtwo.limits.oauth.backoff.initial, wgtwo.limits.oauth.backoff.max = 0.5, 30
    assert_hidden()
  end)

  it("do not show in the errors of calls, nor in logs", function()
    api:on(CONSENTS, function(call)
      call:fail(16, "bad token " .. call.metadata.authorization, { { "x-seen", call.metadata.authorization } })
    end)
    local _, err = client:call(CONSENTS)
    seen[#seen + 1] = tostring(err)
    see(err.message)
    api:on(feeds.SUBSCRIBE, function(call)
      call:send(feeds.sms(1))
      call:fail(14, "lost " .. call.metadata.authorization)
    end)
    api:on(feeds.ACK, function(call) call:fail(7, "not for " .. call.metadata.authorization) end)
    local sub <close> = client:events{ types = { "SMS_EVENT" }, queue = "q",
      reconnect = { initial = 0.01, max = 0.02 } }
    assert(sub:next(10)):ack()
    assert(sub:next(10)):ack{ wait = true }
    sub:close()
    seen[#seen + 1] = tostring(sub)
    assert.is_true(#seen > 10)
    assert_hidden("token-1", "token-2", "token-3")
  end)

  it("are not arguments of a process", function()
    local sandbox <close> = assert(wgtwo.sandbox.start{ clients = { { id = "x", secret = SECRET, scopes = {} } } })
    for _, name in ipairs{ "cmdline", "environ" } do
      local file <close> = assert(io.open(("/proc/%d/%s"):format(sandbox.pid, name), "rb"))
      seen[#seen + 1] = file:read("a")
    end
    seen[#seen + 1] = tostring(sandbox)
    assert_hidden()
  end)

  it("do not follow a redirect", function()
    local other <close> = Identity.start()
    identity.answers = { { 307, { Location = other.token_url }, "" } }
    local token, err = source:token()
    assert.is_nil(token)
    assert.equal(307, err.http_status)
    assert.same({}, other.requests)
  end)

  it("do not go to a server whose certificate nobody vouches for", function()
    local pair = httpd.certificate{ names = { "localhost" }, addresses = { "127.0.0.1" } }
    local secure <close> = Identity.start{ cert = pair.cert, key = pair.key }
    wgtwo.limits.oauth.backoff.initial, wgtwo.limits.oauth.backoff.max = 0.001, 0.002
    local token, err = wgtwo.oauth.client_credentials{ client_id = "my-id", client_secret = SECRET,
      token_url = secure.token_url }:token()
    wgtwo.limits.oauth.backoff.initial, wgtwo.limits.oauth.backoff.max = 0.5, 30
    assert.is_nil(token)
    assert.equal("unreachable", err.code)
    assert.same({}, secure.requests)

    local secure_api <close> = Api.start{ tls = { cert = pair.cert, key = pair.key } }
    local other <close> = assert(wgtwo.connect{ target = "localhost:" .. secure_api.port, auth = source })
    local reply, call_err = other:call(CONSENTS)
    assert.is_nil(reply)
    assert.equal("UNAVAILABLE", call_err.code)
    assert.same({}, secure_api.calls)
  end)

  it("go where the certificate is known", function()
    local pair = httpd.certificate{ names = { "localhost" }, addresses = { "127.0.0.1" } }
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(pair.ca)
    file:close()
    local secure <close> = Identity.start{ cert = pair.cert, key = pair.key }
    local trusted = wgtwo.oauth.client_credentials{ client_id = "my-id", client_secret = SECRET,
      token_url = secure.token_url, ca_file = path }
    assert.equal("token-1", assert(trusted:token()).access_token)
    local secure_api <close> = Api.start{ tls = { cert = pair.cert, key = pair.key } }
    secure_api:on(CONSENTS, function(call) call:reply{} end)
    local other <close> = assert(wgtwo.connect{ target = "localhost:" .. secure_api.port, auth = trusted,
      tls = { ca_file = path } })
    assert(other:call(CONSENTS))
    assert.equal("Bearer token-2", secure_api.calls[1].metadata.authorization)
    os.remove(path)
  end)
end)
