-- What is used wrongly is told in one line, at the line of the script, and names the thing and the remedy.

local wgtwo = require("wgtwo")

describe("misuse", function()
  local sandbox, client

  setup(function()
    sandbox = assert(wgtwo.sandbox.start{})
    client = assert(wgtwo.connect(sandbox:client()))
  end)

  teardown(function()
    client:close()
    sandbox:close()
  end)

  -- What `f` raises, with its place.
  local function complaint(f)
    local ok, message = pcall(f)
    assert.is_false(ok, "did not raise")
    assert.matches("misuse_spec.lua:%d+: ", message)
    return (message:gsub("^.-:%d+: ", ""))
  end

  it("of a timeout that is no number does not fail inside of the rock", function()
    local stream <close> = assert(client:stream("NumberLookupService/NumberLookup"))
    local events <close> = client:events{ types = { "SMS_EVENT" }, queue = "misuse" }
    local task = wgtwo.spawn(function() end)
    local calls = {
      function() stream:read("5") end,
      function() stream:write({}, {}) end,
      function() events:next("5") end,
      function() events:close("5") end,
      function() task:join("5") end,
      function() client:close("5") end,
      function() client.auth:token({ "events.sms.subscribe" }, "5") end,
      function() events:next(0 / 0) end,
    }
    for _, f in ipairs(calls) do
      assert.matches("a timeout is a number of seconds, or nil, not ", complaint(f), 1, true)
    end
  end)

  it("of a client's close leaves the client open", function()
    pcall(client.close, client, {})
    assert.is_false(client.closed)
    assert.is_truthy(client:call("GetConsentsForSubscription", { phone_number = { e164 = "+4799990001" } }))
  end)

  it("of a timeout that is over already is none: nothing is waited for", function()
    local events <close> = client:events{ types = { "SMS_EVENT" }, queue = "misuse" }
    local event, err = events:next(-1)
    assert.is_nil(event)
    assert.equal("timeout", err.kind)
  end)

  it("of a token where a source belongs names wgtwo.oauth.static, and does not show the token", function()
    local message = complaint(function() wgtwo.connect{ target = sandbox.target, auth = "s3cr3t-t0k3n" } end)
    assert.matches("wgtwo.oauth.static(token)", message, 1, true)
    assert.not_matches("s3cr3t", message)
  end)

  it("of a start that is no time names the option, and no file of the rock", function()
    local message = complaint(function()
      client:events{ types = { "SMS_EVENT" }, start = { timestamp = "nonsense" } }
    end)
    assert.matches("^client:events: start: .*'nonsense' is no timestamp", message)
    assert.not_matches("%.lua:", message)
  end)

  it("of an event's field is told at the line of the script", function()
    sandbox:publish{ type = "SMS_EVENT" }
    local events <close> = client:events{ types = { "SMS_EVENT" }, start = "oldest" }
    local event = assert(events:next(5))
    assert.matches("has no field 'sms_evnt'.*sms_event", complaint(function() return event.sms_evnt end))
  end)

  it("of a nested option names all of it", function()
    assert.matches('unknown option "keepalive.tim"; did you mean "time"?',
      complaint(function() wgtwo.connect{ keepalive = { tim = 5 } } end), 1, true)
  end)

  it("of client.sms with a dot says that it wants a colon", function()
    assert.equal("call it with a colon: client.sms:send_text_to_subscriber{ … }",
      complaint(function() client.sms.send_text_to_subscriber{ content = "hi" } end))
  end)

  it("of any other object with a dot says so, too", function()
    local stream <close> = assert(client:stream("NumberLookupService/NumberLookup"))
    local events <close> = client:events{ types = { "SMS_EVENT" }, queue = "dots" }
    local function wants(text, f) assert.equal("call it with a colon: " .. text, complaint(f)) end
    wants("client:events(…)", function() client.events{ types = { "SMS_EVENT" } } end)
    wants("client:call(…)", function() client.call("GetConsentsForSubscription", {}) end)
    wants("client:stats(…)", function() client.stats() end)
    wants("subscription:next(…)", function() events.next(5) end)
    wants("subscription:close(…)", function() events.close(client) end)
    wants("stream:read(…)", function() stream.read() end)
    wants("sandbox:publish(…)", function() sandbox.publish{ type = "SMS_EVENT" } end)
    wants("task:join(…)", function() wgtwo.spawn(function() end).join() end)
    wants("source:token(…)", function() client.auth.token() end)
    wants("source:token(…)", function() wgtwo.oauth.static("x").token() end)
    local user = wgtwo.oauth.authorization_code{ client_id = "id", client_secret = "x", redirect_uri = "http://x" }
    for _, name in ipairs{ "token", "authorize_url", "exchange", "userinfo", "revoke", "invalidate", "peek" } do
      wants("source:" .. name .. "(…)", function() user[name]() end)
    end
  end)

  it("of a function with a colon was told of an option that nobody gave", function()
    local function wants(text, f) assert.equal("call it with a dot: " .. text, complaint(f)) end
    wants("wgtwo.connect{ … }", function() wgtwo:connect{} end)
    wants("wgtwo.sandbox.start{ … }", function() wgtwo.sandbox:start{ seed = 1 } end)
    wants("wgtwo.oauth.client_credentials{ … }", function()
      wgtwo.oauth:client_credentials{ client_id = "id", client_secret = "secret" }
    end)
    wants("wgtwo.oauth.authorization_code{ … }", function() wgtwo.oauth:authorization_code{} end)
  end)

  it("of client_ca as a path named neither the option nor what it wants", function()
    assert.equal("wgtwo.sandbox.start: client_ca: the text of a certificate in PEM is needed, not the path of its file",
      complaint(function() wgtwo.sandbox.start{ client_ca = "/etc/ssl/ca.pem" } end))
  end)

  it("of event.ack with a dot failed inside of the rock, or acknowledged nothing", function()
    assert(sandbox:publish{ type = "SMS_EVENT" })
    for _, ack in ipairs{ "manual", "none" } do
      local events <close> = client:events{ types = { "SMS_EVENT" }, start = "oldest", ack = ack }
      local event = assert(events:next(5))
      for _, wrong in ipairs{ { n = 0 }, { { wait = true }, n = 1 }, { events, n = 1 }, { client, {}, n = 2 } } do
        assert.equal("call it with a colon: event:ack(…)",
          complaint(function() event.ack(table.unpack(wrong, 1, wrong.n)) end))
      end
      for _ = 1, 2 do assert.is_true(event:ack()) end
    end
  end)

  it("of scopes that are none failed inside of the rock, or asked for no scope", function()
    local source = client.auth
    assert.equal("source:token: scopes[1] must be a string, not 1", complaint(function() source:token{ 1 } end))
    assert.equal("source:token: scopes must be a list or a string, not 5", complaint(function() source:token(5) end))
    assert.matches("scopes must be a list, 1 to n", complaint(function() source:token{ timeout = 5 } end), 1, true)
    assert.equal("source:peek: scopes must be a list or a string, not true",
      complaint(function() source:peek(true) end))
    assert(source:token{ "events.sms.subscribe" })
  end)

  it("of the sandbox's other methods failed inside of the rock: it names the method and the argument", function()
    local function says(text, f) assert.matches(text, complaint(f), 1, true) end
    for _, name in ipairs{ "events", "streams", "end_streams", "journal" } do
      says(("sandbox:%s: options must be a table, not string"):format(name), function() sandbox[name](sandbox, "x") end)
    end
    says('sandbox:events: unknown option "typ"; did you mean "type"?', function() sandbox:events{ typ = "x" } end)
    says("sandbox:events: limit: an integer is needed", function() sandbox:events{ limit = 1.5 } end)
    says("sandbox:events: type: ", function() sandbox:events{ type = "SMS_EVNT" } end)
    says("sandbox:end_streams: code: there is no gRPC status NONE", function() sandbox:end_streams{ code = "NONE" } end)
    for _, seconds in ipairs{ 0 / 0, math.huge, -math.huge } do
      says("sandbox:advance: seconds must be a finite number", function() sandbox:advance(seconds) end)
    end
    says("sandbox:advance: seconds is required", function() sandbox:advance() end)
    says('sandbox:advance: seconds must be a finite number, not "5"', function() sandbox:advance("5") end)
    says("sandbox:fault: delay: JSON: ", function() sandbox:fault{ delay = 0 / 0 } end)
    says("sandbox:fault: delay: JSON: ", function() sandbox:fault{ delay = { 0, math.huge } } end)
    says("sandbox:fault: no method is named", function() sandbox:fault{ method = "Nothing", hang = true } end)
    says("sandbox:clear_faults: id must be a finite number, not a table", function() sandbox:clear_faults{} end)
    says("sandbox:clear_faults: id: an integer is needed", function() sandbox:clear_faults(1.5) end)
    says("sandbox:generate: plans is required", function() sandbox:generate() end)
    says('sandbox:generate: plans must be a list, not "x"', function() sandbox:generate("x") end)
    says('sandbox:numbers: numbers must be a list, not "x"', function() sandbox:numbers("x") end)
    says("sandbox:numbers: not in E.164 form", function() sandbox:numbers{ "x" } end)
    says("sandbox:wire: a table that says which is needed", function() sandbox:wire("x") end)
    says("sandbox:ask: number must be a string, not 5", function() sandbox:ask(5) end)
    says('sandbox:restore: snapshot must be a table, not "x"', function() sandbox:restore("x") end)
  end)

  it("of a start before the first event subscribed from the other end", function()
    local function says(text, type, start)
      assert.equal("client:events: " .. text,
        complaint(function() client:events{ types = { type }, start = start } end))
    end
    for _, type in ipairs{ "SMS_EVENT", "country_change" } do
      says("start.sequence must be an integer, 0 or more", type, { sequence = -1 })
      says("start.timestamp must be a time, in 1970 or later", type, { timestamp = -1 })
    end
  end)

  it("of a queue's name that is no UTF-8 was told of another option", function()
    for _, name in ipairs{ "queue", "queue_name", "durable_name", "client_id" } do
      assert.equal(("client:events: %s: the text must be valid UTF-8"):format(name),
        complaint(function() client:events{ types = { "SMS_EVENT" }, [name] = "\xFF" } end))
    end
  end)

  it("of a sandbox that is closed was told of its certificate", function()
    local other = assert(wgtwo.sandbox.start{})
    other:close()
    assert.matches("the sandbox is closed", complaint(function() other:client() end), 1, true)
  end)

  it("of the sandbox's publish and fault names what is unknown, or missing", function()
    assert.matches('unknown option "nubmer"; did you mean "number"?',
      complaint(function() sandbox:publish{ type = "SMS_EVENT", nubmer = "+4799990001" } end), 1, true)
    assert.matches("type is required", complaint(function() sandbox:publish{} end))
    assert.matches("a table that says which is needed", complaint(function() sandbox:fault() end))
    assert.equal(0, #sandbox:faults())
  end)
end)

describe("an SMS whose fate is unknown", function()
  it("is not said to be worth another try", function()
    local err = wgtwo.error.new{ kind = "rpc", code = "DEADLINE_EXCEEDED", outcome = "unknown", retryable = false }
    assert.matches("it may have happened nevertheless", tostring(err))
    assert.not_matches("try again", tostring(err))
  end)
end)
