local Api = require("spec.support.api")
local patience = require("spec.support.patience")
local wgtwo = require("wgtwo")

local SEND = "wgtwo.sms.v1.SmsService/SendTextToSubscriber"
local SUBSCRIBE = "wgtwo.events.v0.EventsService/Subscribe"
local CONSENTS = "wgtwo.consents.v0.ConsentService/GetConsentsForSubscription"

-- A token source that counts: token-1, token-2, …
local function counting_source()
  local source = { count = 0, asked = {} }
  function source:token(scopes)
    self.asked[#self.asked + 1] = scopes or "none"
    if not self.current then
      self.count = self.count + 1
      self.current = { access_token = "token-" .. self.count, token_type = "bearer" }
    end
    return self.current
  end
  function source:peek() return self.current end
  function source:invalidate() self.current = nil end
  return source
end

describe("client", function()
  local api, client

  local function connect(options)
    local all = { target = api.target, plaintext = true, auth = false, logger = false }
    for key, value in pairs(options or {}) do all[key] = value end
    client = assert(wgtwo.connect(all))
    return client
  end

  before_each(function() api = Api.start() end)
  after_each(function()
    if client then client:close() end
    client = nil
    api:stop()
  end)

  describe("a call", function()
    it("carries the request and gives the reply", function()
      api:on(SEND, function(call) call:reply{ message_id = call.record.request.content, status = "SEND_STATUS_OK" } end)
      local reply = assert(connect():call(SEND, { content = "hi", to_subscriber = "+4799990001" }))
      assert.equal("hi", reply.message_id)
      assert.equal("SEND_STATUS_OK", reply.status)
    end)

    it("may be named by any ending that only one method has", function()
      api:on(CONSENTS, function(call) call:reply{ error_message = "yes" } end)
      connect()
      for _, name in ipairs{ CONSENTS, "/" .. CONSENTS, "wgtwo.consents.v0.ConsentService.GetConsentsForSubscription",
        "ConsentService/GetConsentsForSubscription", "GetConsentsForSubscription" } do
        assert.equal("yes", assert(client:call(name)).error_message)
      end
    end)

    it("raises on misuse, at the line of the script", function()
      connect()
      local function message(...)
        local ok, err = pcall(...)
        assert.is_false(ok)
        assert.matches("client_spec.lua:%d+: ", err)
        return err
      end
      assert.matches("is ambiguous: .*v0.*v1", message(function() client:call("SendTextToSubscriber") end))
      assert.matches("nearest one is", message(function() client:call("SendTextToSubscribr") end))
      assert.matches("wgtwo.schema.methods() lists all", message(function() client:call("FooBarBaz") end), 1, true)
      assert.matches("no field 'contnt'.*content", message(function() client:call(SEND, { contnt = "x" }) end))
      assert.matches('unknown option "timeot".*timeout', message(function() client:call(SEND, {}, { timeot = 1 }) end))
      assert.matches("use client:stream", message(function() client:call("NumberLookup") end))
      assert.matches("use client:call", message(function() client:stream(SEND) end))
    end)

    it("sends the client's metadata, and the call's over it", function()
      api:on(CONSENTS, function(call) call:reply{} end)
      connect{ metadata = { ["X-Client"] = "a", ["x-both"] = "client" } }
      assert(client:call(CONSENTS, {}, { metadata = { ["x-both"] = "call", ["x-raw-bin"] = "\0\255" } }))
      local seen = api:seen(CONSENTS)[1].metadata
      assert.equal("a", seen["x-client"])
      assert.equal("call", seen["x-both"])
      assert.equal("\0\255", seen["x-raw-bin"])
    end)

    it("refuses metadata that HTTP/2 forbids, without showing the value", function()
      connect()
      for name, pattern in pairs{ ["bad name"] = "letters, digits", ["grpc-x"] = "gRPC itself", te = "gRPC itself" } do
        assert.error_matches(function() client:call(CONSENTS, {}, { metadata = { [name] = "v" } }) end, pattern)
      end
      local ok, err = pcall(client.call, client, CONSENTS, {}, { metadata = { key = "secret\nvalue" } })
      assert.is_false(ok)
      assert.matches("printable ASCII", err)
      assert.not_matches("secret", err)
    end)

    it("has a timeout: the client's, or its own", function()
      local left = 0 -- seconds that the server sees
      api:on(CONSENTS, function(call)
        left = call.op:deadline()
        if left > 100 then call:reply{} else call:until_cancelled() end
      end)
      connect{ timeout = 0.3 }
      local reply, err = client:call(CONSENTS)
      assert.is_nil(reply)
      assert.equal("DEADLINE_EXCEEDED", err.code)
      assert.equal("rpc", err.kind)
      assert.equal(4, err.number)
      assert.is_true(left < 1) -- rounded by gRPC
      assert(client:call(CONSENTS, {}, { timeout = 300 }))
      assert.is_true(left > 100)
    end)

    it("said of an SMS that may have been sent that it may be sent again", function()
      for _, method in ipairs{ SEND, "wgtwo.mms.v0.MmsService/SendMessageToSubscriber",
          "wgtwo.consents.v0.ConsentService/CreateConsentForSubscription" } do
        api:on(method, function(call) call:fail(14, "gone") end)
        connect()
        local reply, err = client:call(method)
        assert.is_nil(reply)
        assert.equal("unknown", err.outcome)
        assert.is_false(err.retryable)
        assert.not_matches("try again", tostring(err))
        client:close()
      end
      for _, method in ipairs{ CONSENTS, "wgtwo.ir21.v1.Ir21Service/CreateOrUpdateOrganisation" } do
        api:on(method, function(call) call:fail(14, "gone") end)
        connect()
        local _, err = client:call(method)
        assert.is_nil(err.outcome)
        assert.is_true(err.retryable)
        client:close()
      end
      api:on(SEND, function(call) call:fail(3, "no") end)
      connect()
      assert.equal("rejected", select(2, client:call(SEND)).outcome)
    end)

    it("said of an SMS whose answer was too large that it was rejected", function()
      api:on(SEND, function(call) call:reply{ description = ("x"):rep(2000) } end)
      connect()
      local reply, err = client:call(SEND, {}, { max_message_size = 1000 })
      assert.is_nil(reply)
      assert.same({ "RESOURCE_EXHAUSTED", "unknown", false }, { err.code, err.outcome, err.retryable })
    end)

    it("gives the server's status as an error: code, number, message, method, target, trailers", function()
      api:on(CONSENTS, function(call) call:fail(8, "slow down", { { "x-why", "quota" } }) end)
      local _, err = connect():call(CONSENTS)
      assert.equal("RESOURCE_EXHAUSTED", err.code)
      assert.equal(8, err.number)
      assert.equal(429, err.http_status)
      assert.equal("slow down", err.message)
      assert.equal("quota", err.metadata["x-why"])
      assert.equal(CONSENTS, err.method)
      assert.equal(api.target, err.target)
      assert.is_true(err.retryable)
    end)

    it("names the scope that PERMISSION_DENIED asks for", function()
      api:on(CONSENTS, function(call) call:fail(7, "insufficient scope") end)
      local _, err = connect():call(CONSENTS)
      assert.equal("subscription.consent:read", err.scope)
      assert.matches("subscription.consent:read", tostring(err))
    end)

    it("fails fast where nobody listens, and waits with wait_for_ready", function()
      api:on(CONSENTS, function(call) call:reply{ error_message = "there" } end)
      connect()
      api:stop()
      local _, err = client:call(CONSENTS)
      assert.equal("UNAVAILABLE", err.code)
      wgtwo.run(function()
        local waiting = wgtwo.spawn(function() return client:call(CONSENTS, {}, { wait_for_ready = true }) end)
        wgtwo.sleep(0.02)
        api:start_again()
        assert.equal("there", assert(waiting:join()).error_message)
      end)
    end)

    it("takes a larger message where it is allowed to", function()
      api:on(CONSENTS, function(call) call:reply{ error_message = ("x"):rep(5000) } end)
      connect{ max_message_size = 1000 }
      local _, err = client:call(CONSENTS)
      assert.equal("RESOURCE_EXHAUSTED", err.code)
      assert.matches("max_message_size", tostring(err))
      local reply = assert(client:call(CONSENTS, {}, { max_message_size = 10000 }))
      assert.equal(5000, #reply.error_message)
    end)

    it("says so when the reply is no message of its type", function()
      api:on(CONSENTS, function(call) call:reply("\255\255\255\255") end)
      local _, err = connect():call(CONSENTS)
      assert.equal("INTERNAL", err.code)
      assert.matches("cannot be read", err.message)
    end)

    it("yields in tasks: many are open at a time, each in the order of its program", function()
      local open, all_open = 0, wgtwo.loop.signal()
      api:on(CONSENTS, function(call)
        open = open + 1
        if open == 200 then all_open:notify() else all_open:wait() end
        call:reply{ error_message = call.record.request.id.value }
      end)
      connect{ timeout = patience.limit }
      local order = {}
      wgtwo.run(function()
        for i = 1, 200 do
          wgtwo.spawn(function()
            local reply = assert(client:call(CONSENTS, { id = { value = tostring(i) } }))
            assert.equal(tostring(i), reply.error_message)
            order[#order + 1] = i
          end)
        end
      end)
      assert.equal(200, #order)
    end)
  end)

  describe("with a token source", function()
    it("asks for the method's scope, the call's, or the source's", function()
      api:on(CONSENTS, function(call) call:reply{} end)
      local source = counting_source()
      connect{ auth = source }
      assert(client:call(CONSENTS))
      assert(client:call(CONSENTS, {}, { scope = "my.scope" }))
      source.scopes = { "fixed" }
      assert(client:call(CONSENTS))
      assert.same({ "subscription.consent:read", "my.scope", "none" }, source.asked)
      assert.equal("Bearer token-1", api:seen(CONSENTS)[1].metadata.authorization)
    end)

    it("v0 events by the name of their method got a token without a scope, and PERMISSION_DENIED", function()
      api:on(SUBSCRIBE, function(call) call:reply{} end)
      local source = counting_source()
      connect{ auth = source }
      for _, types in ipairs{ { "SMS_EVENT", "VOICE_EVENT", "SMS_EVENT" }, { "CONSENT_REVOKE_EVENT" } } do
        local stream <close> = assert(client:stream(SUBSCRIBE, { type = types }))
        stream:read(10)
      end
      assert.same({ "events.sms.subscribe events.voice.subscribe", "" }, source.asked)
    end)

    it("tries once more with a new token after UNAUTHENTICATED, and only once", function()
      local accepted = "Bearer token-2"
      api:on(CONSENTS, function(call)
        if call.metadata.authorization == accepted then call:reply{} else call:fail(16, "bad token") end
      end)
      local source = counting_source()
      connect{ auth = source }
      assert(client:call(CONSENTS))
      assert.equal(2, source.count)
      accepted = "none"
      local _, err = client:call(CONSENTS)
      assert.equal("UNAUTHENTICATED", err.code)
      assert.equal(3, source.count)
      assert.equal(4, #api.calls)
    end)

    it("does not try again with a token that stays the same", function()
      api:on(CONSENTS, function(call) call:fail(16, "bad token") end)
      local _, err = connect{ auth = wgtwo.oauth.static("abc") }:call(CONSENTS)
      assert.equal("UNAUTHENTICATED", err.code)
      assert.equal(1, #api.calls)
    end)

    it("gives the source's error", function()
      connect{ auth = { token = function() return nil, "no luck" end } }
      local reply, err = client:call(CONSENTS)
      assert.is_nil(reply)
      assert.equal("oauth", err.kind)
      assert.matches("no luck", tostring(err))
    end)

    it("lets a call bring its own authorization", function()
      api:on(CONSENTS, function(call) call:reply{} end)
      local source = counting_source()
      connect{ auth = source }
      assert(client:call(CONSENTS, {}, { metadata = { Authorization = "Bearer mine" } }))
      assert.equal("Bearer mine", api.calls[1].metadata.authorization)
      assert.equal(0, source.count)
    end)
  end)

  describe("closing", function()
    it("may be repeated, and leaves clear errors", function()
      connect()
      assert.is_true(client:close())
      assert.is_true(client:close())
      for _, try in ipairs{
        function() return client:call(CONSENTS) end,
        function() return client:stream("NumberLookup") end,
        function() return client.sms:send_text_to_subscriber{ content = "x", to_subscriber = "+4712345678",
          from_address = "Shop" } end,
        function() return (client:events{ types = { "SMS_EVENT" } }):next() end,
      } do
        local result, err = try()
        assert.is_nil(result)
        assert.equal("closed", err.kind)
        assert.matches("client is closed", tostring(err))
      end
      assert.matches("closed", tostring(client))
    end)

    it("ends the calls under way", function()
      api:on(CONSENTS, function(call) call:until_cancelled() end)
      connect()
      wgtwo.run(function()
        local call = wgtwo.spawn(function() return client:call(CONSENTS) end)
        api:until_(function() return #api.calls == 1 end)
        client:close()
        local reply, err = call:join()
        assert.is_nil(reply)
        assert.equal("closed", err.kind)
      end)
    end)

    it("happens at the end of a to-be-closed variable", function()
      local kept
      do
        local scoped <close> = connect()
        kept = scoped
      end
      assert.equal("closed", select(2, kept:call(CONSENTS)).kind)
    end)
  end)

  it("counts", function()
    api:on(CONSENTS, function(call) call:reply{} end)
    connect()
    assert.equal("IDLE", client:stats().state)
    assert(client:call(CONSENTS))
    local stats = client:stats()
    assert.equal(1, stats.calls)
    assert.equal(0, stats.failed)
    assert.equal(0, stats.open)
    assert.equal("READY", stats.state)
  end)

  it("leaves nothing behind, a thousand times, closed or forgotten", function()
    for i = 1, 200 do
      local one = assert(wgtwo.connect{ target = "127.0.0.1:1", plaintext = true, auth = false })
      if i % 2 == 0 then one:close() end
    end
    collectgarbage()
  end)

  describe("connect", function()
    local function refused(options)
      local result, err = wgtwo.connect(options)
      assert.is_nil(result)
      return err
    end

    it("does not send a token over plaintext to another machine", function()
      local err = refused{ target = "192.0.2.1:80", plaintext = true, auth = wgtwo.oauth.static("s3cret-token") }
      assert.equal("oauth", err.kind)
      assert.matches("without TLS", tostring(err))
      assert.not_matches("s3cret", tostring(err))
      refused{ target = "192.0.2.1:80", plaintext = true, auth = false, metadata = { authorization = "Bearer x" } }
      local open <close> = assert(wgtwo.connect{ target = "192.0.2.1:80", plaintext = true, auth = false })
      local _, call_err = open:call(CONSENTS, {}, { metadata = { authorization = "Bearer x" } })
      assert.equal("plaintext", call_err.code)
    end)

    it("a URL was looked up as a name, a port was cut to 16 bits, \"::1:1\" raised where a call failed", function()
      for given, message in pairs{
        ["http://localhost:80"] = 'target: "host:port" is needed, without "http://"',
        ["localhost:99999"] = "target: the port must be from 1 to 65535, not \"99999\"",
        ["localhost:0"] = "the port must be from 1 to 65535, not \"0\"",
        ["[::1]:x"] = "the port must be from 1 to 65535, not \"x\"",
        ["localhost:"] = "the port must be from 1 to 65535",
        ["::1:1"] = 'an IPv6 address is in brackets: "[::1]:443"',
      } do
        assert.error_matches(function() wgtwo.connect{ target = given, auth = false } end, message, 1, true)
      end
      for _, good in ipairs{ "localhost", "[::1]:1", "[::1]", "dns:///localhost:1", "ipv6:[::1]:1", "unix:/tmp/x" } do
        assert(wgtwo.connect{ target = good, auth = false }):close()
      end
    end)

    it("names a certificate file that cannot be read, or is none", function()
      assert.matches("no%-such%-file", tostring(refused{ target = "localhost:1", auth = false,
        tls = { ca_file = "/no-such-file" } }))
      assert.matches("PEM", tostring(refused{ target = "localhost:1", auth = false,
        tls = { ca_file = "spec/client_spec.lua" } }))
    end)

    it("checks its options", function()
      for pattern, options in pairs{
        ['unknown option "targt".*target'] = { targt = "x" },
        ['unknown value "sandbx".*sandbox'] = { env = "sandbx" },
        ["token source"] = { auth = {} },
        ["timeout"] = { timeout = -1 },
        ["come together"] = { tls = { cert_file = "x" } },
        ["ca_fil.*ca_file"] = { tls = { ca_fil = "x" } },
      } do
        assert.error_matches(function() wgtwo.connect(options) end, pattern)
      end
    end)

    it("says what is missing for env = local", function()
      if os.getenv("WGTWO_SANDBOX") then return end
      assert.matches("WGTWO_SANDBOX", tostring(refused{ env = "local" }))
    end)
  end)
end)

describe("a client of the environment local", function()
  it("finds its sandbox again when that was started anew, with another certificate", function()
    local process = require("spec.support.process")
    local first = assert(wgtwo.sandbox.start{})
    local port, http_port = first.target:match(":(%d+)$"), first.url:match(":(%d+)$")
    local script = [[
      local wgtwo = require "wgtwo"
      local client <close> = assert(wgtwo.connect{ logger = false })
      local sub <close> = client:events{ types = { "SMS_EVENT" }, queue = "again",
        reconnect = { initial = 0.05, max = 0.2 } }
      print("ready")
      local event, err = sub:next(20)
      print(event and event.number or err)
    ]]
    local child = process.start(script, { env = { WGTWO_SANDBOX = first.url, WGTWO_ENV = false,
      WGTWO_CLIENT_ID = false, CLIENT_ID = false } })
    assert.equal("ready", child:line())
    first:close()
    local second <close> = assert(wgtwo.sandbox.start{ port = math.tointeger(port),
      http_port = math.tointeger(http_port), generate = { types = { "SMS_EVENT" }, rate = 20 } })
    assert.is_truthy(second.pid)
    local rest = child:wait()
    assert.matches("^%+%d+\n", rest)
  end)
end)

describe("a subscription to a sandbox with a state file", function()
  it("goes on when the sandbox was killed and started again on the same ports", function()
    local path = os.tmpname()
    local first = assert(wgtwo.sandbox.start{ state = path })
    local given = first:client()
    given.logger = false
    local client <close> = assert(wgtwo.connect(given))
    local events <close> = client:events{ types = { "SMS_EVENT" }, queue = "again", start = "oldest",
      reconnect = { initial = 0.05, max = 0.2 } }
    first:publish{ type = "SMS_EVENT", payload = { text = "one" } }
    assert(assert(events:next(10)):ack{ wait = true })
    os.execute("kill -9 " .. first.pid)
    local port = math.tointeger(first.target:match(":(%d+)$"))
    local http_port = math.tointeger(first.url:match(":(%d+)$"))
    first:close()
    local second <close> = assert(wgtwo.sandbox.start{ state = path, port = port, http_port = http_port })
    require("spec.support.sandbox").until_(function()
      events:next(0.05) -- there is none: it reconnects meanwhile
      return #second:streams() > 0
    end, "the stream's return")
    second:publish{ type = "SMS_EVENT", payload = { text = "two" } }
    local event
    repeat event = assert(events:next(20)) until event.sms_event.text == "two"
    assert.is_true(event:ack{ wait = true })
    second:close()
    os.remove(path)
  end)
end)
