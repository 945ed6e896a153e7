-- The client against the sandbox, over TLS and with tokens: the main job as a user has it.

local process = require("spec.support.process")
local wgtwo = require("wgtwo")

describe("against the sandbox, the client", function()
  local sandbox, client, log

  local function start(options)
    sandbox = assert(wgtwo.sandbox.start(options or {}))
    local settings = sandbox:client()
    settings.logger = function(level, message) log[#log + 1] = level .. ": " .. message end
    client = assert(wgtwo.connect(settings))
  end

  before_each(function() log = {} end)

  after_each(function()
    if client then client:close() end
    if sandbox then sandbox:close() end
    client, sandbox = nil, nil
  end)

  local function journal(method)
    local list = {}
    for _, entry in ipairs(sandbox:journal{ method = method }) do list[#list + 1] = entry end
    return list
  end

  it("gets v0 and v1 events in one iteration, and acknowledges each", function()
    start{ strict = true }
    local sub <close> = client:events{ types = { "SMS_EVENT", "VOICE_EVENT", "handset_change", "consent_change" },
      queue = "billing", start = "oldest" }
    for _, kind in ipairs{ "SMS_EVENT", "VOICE_EVENT", "handset_change", "consent_change" } do
      assert(sandbox:publish{ type = kind, number = "+4799990001" })
    end
    local seen = {}
    for _ = 1, 4 do
      local event = assert(sub:next(10))
      seen[event.type] = event.number
      event:ack()
    end
    assert.is_true(sub:close())
    assert.equal("+4799990001", seen.SMS_EVENT)
    assert.equal("+4799990001", seen.handset_change)
    assert.is_truthy(seen.VOICE_EVENT and seen.consent_change)
    for _, event in ipairs(sandbox:events()) do assert.equal(1, event.acks, event.type) end
    assert.same({}, log)
  end)

  it("gets an event again that it did not acknowledge", function()
    start{ clock = "virtual" }
    local sub <close> = client:events{ types = { "SMS_EVENT" }, queue = "billing", start = "oldest", ack_timeout = 30 }
    sandbox:publish{ type = "SMS_EVENT", number = "+4799990001", payload = { text = "again" } }
    assert.is_false(assert(sub:next(10)).is_redelivered)
    sandbox:advance(31)
    local event = assert(sub:next(10))
    assert.is_true(event.is_redelivered)
    assert.equal("again", event.sms_event.text)
    assert(event:ack{ wait = true })
    assert.equal(1, sub:stats().redelivered)
    sandbox:advance(60)
    assert.is_nil((sub:next(0.1)))
  end)

  it("keeps to the in-flight limit", function()
    start{}
    local sub <close> = client:events{ types = { "SMS_EVENT" }, queue = "billing", start = "oldest", max_in_flight = 3 }
    for _ = 1, 10 do sandbox:publish{ type = "SMS_EVENT", number = "+4799990001" } end
    local events = {}
    for i = 1, 3 do events[i] = assert(sub:next(10)) end
    assert.is_nil((sub:next(0.2)))
    for i = 1, 3 do events[i]:ack() end
    for _ = 4, 10 do assert(sub:next(10)):ack() end
    assert.equal(10, sub:stats().received)
  end)

  for _, code in ipairs{ "UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED" } do
    it("tries an acknowledgement again after " .. code, function()
      start{}
      local sub = client:events{ types = { "SMS_EVENT" }, queue = "billing", start = "oldest" }
      sandbox:fault{ method = "wgtwo.events.v0.EventsService/Ack", code = code, count = 2 }
      sandbox:publish{ type = "SMS_EVENT", number = "+4799990001" }
      assert(sub:next(10)):ack()
      assert.is_true(sub:close(10))
      assert.equal(2, sub:stats().ack_retries)
      assert.equal(1, sub:stats().acked)
      assert.equal(1, sandbox:events()[1].acks)
    end)
  end

  it("renews a token that the server no longer takes: in calls, streams and acknowledgements", function()
    start{ strict = true }
    local sub <close> = client:events{ types = { "SMS_EVENT" }, queue = "billing", start = "oldest" }
    sandbox:publish{ type = "SMS_EVENT", number = "+4799990001" }
    local event = assert(sub:next(10))
    sandbox:revoke_tokens()
    assert(event:ack{ wait = true })
    sandbox:revoke_tokens()
    assert(client:call("GetConsentsForSubscription", { phone_number = { e164 = "+4799990001" } }))
    sandbox:revoke_tokens()
    sandbox:end_streams{}
    sandbox:publish{ type = "SMS_EVENT", number = "+4799990001" }
    assert(assert(sub:next(10)):ack{ wait = true })
    assert.equal(2, sub:stats().acked)
  end)

  it("names the scope that is missing", function()
    start{ strict = true, clients = { { id = "id", secret = "secret", scopes = { "events.sms.subscribe" } } } }
    local reply, err = client.sms:send_text_to_subscriber{ content = "x", to_subscriber = "+4799990001",
      from_address = "Shop" }
    assert.is_nil(reply)
    assert.matches("sms.text:send_to_subscriber", tostring(err))
    local event
    event, err = (client:events{ types = { "VOICE_EVENT" } }):next(10)
    assert.is_nil(event)
    assert.matches("events.voice.subscribe", tostring(err))
  end)

  it("has an SMS come back as an event, with its delivery report", function()
    start{}
    local sub <close> = client:events{ types = { "SMS_EVENT", "SMS_DELIVERY_REPORT_EVENT" }, queue = "q",
      start = "oldest" }
    local reply = assert(client.sms:send_text_to_subscriber{ content = "round trip", to_subscriber = "+4799990001",
      from_address = "Shop" })
    assert.equal("SEND_STATUS_OK", reply.status)
    local types = {}
    for _ = 1, 2 do
      local event = assert(sub:next(10))
      types[event.type] = true
      event:ack()
      if event.type == "SMS_EVENT" then assert.equal("round trip", event.sms_event.text) end
    end
    assert.same({ SMS_EVENT = true, SMS_DELIVERY_REPORT_EVENT = true }, types)
  end)

  it("asks for one token per scope set, and uses it for all calls", function()
    start{ strict = true }
    for _ = 1, 5 do assert(client:call("GetConsentsForSubscription", { phone_number = { e164 = "+4799990001" } })) end
    assert.equal(1, #journal("POST /oauth2/token"))
  end)

  it("answers number lookups", function()
    start{}
    local stream <close> = assert(client:stream("NumberLookup"))
    local question = assert(stream:read(10))
    assert.is_true(stream:write{ number_lookup_request = question, result = { name = "Shop" } })
    assert.is_true(stream:finish())
  end)

  it("finds it by WGTWO_SANDBOX, with credentials from the environment", function()
    start{ strict = true }
    local result = process.lua([[
      local wgtwo = require "wgtwo"
      local client <close> = assert(wgtwo.connect())
      print(client.env, client.target, client.auth.client_id)
      assert(client:call("GetConsentsForSubscription", { phone_number = { e164 = "+4799990001" } }))
      local plain <close> = assert(wgtwo.connect{ plaintext = true })
      assert(plain:call("GetConsentsForSubscription", { phone_number = { e164 = "+4799990001" } }))
    ]], { env = { WGTWO_SANDBOX = sandbox.url, CLIENT_ID = "id", CLIENT_SECRET = "secret", WGTWO_ENV = false,
      WGTWO_CLIENT_ID = false, WGTWO_CLIENT_SECRET = false } })
    assert.is_true(result.ok, result.errors)
    assert.matches("^local\tlocalhost:%d+\tid\n", result.output)
  end)

  it("says what is wrong with WGTWO_SANDBOX, WGTWO_ENV and missing certificates", function()
    local function failure(env, options)
      local result = process.lua(([[
        local client, err = require("wgtwo").connect(%s)
        assert(client == nil)
        print(err)
      ]]):format(options or ""), { env = env })
      assert.is_true(result.ok, result.errors)
      return result.output
    end
    assert.matches("WGTWO_SANDBOX.*running", failure{ WGTWO_SANDBOX = "http://127.0.0.1:1", WGTWO_ENV = false })
    assert.matches("https", failure{ WGTWO_SANDBOX = "http://example.com", WGTWO_ENV = false })
    assert.matches('no environment "sandbx".*sandbox', failure{ WGTWO_ENV = "sandbx" })
    assert.matches("needs WGTWO_SANDBOX", failure{ WGTWO_ENV = "local", WGTWO_SANDBOX = false })
    assert.matches("CLIENT_ID is set.*CLIENT_SECRET",
      failure{ WGTWO_ENV = "eu", CLIENT_ID = "x", CLIENT_SECRET = false })
    assert.matches("ca%-certificates", failure({ WGTWO_ENV = "eu", SSL_CERT_FILE = "/nowhere" }, "{ auth = false }"))
  end)

  it("gives many tasks their answers", function()
    start{}
    wgtwo.run(function()
      for i = 1, 100 do
        wgtwo.spawn(function()
          assert(client.sms:send_text_to_subscriber{ content = "no. " .. i, to_subscriber = "+4799990001",
            from_address = "Shop" })
        end)
      end
    end)
    assert.equal(100, client:stats().calls)
  end)
end)
