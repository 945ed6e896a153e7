-- The state file: what is kept over a restart of the sandbox.

local core = require "wgtwo.core"
local http, until_ = require("spec.support.sandbox").http, require("spec.support.sandbox").until_
local process = require("spec.support.process")
local wgtwo = require "wgtwo"

local LUA = process.quote(process.interpreter())

describe("a sandbox with a state file", function()
  local path

  before_each(function()
    path = os.tmpname()
    os.remove(path)
  end)

  after_each(function() os.remove(path) end)

  local function start(more)
    local settings = { state = path, clock = "virtual" }
    for name, value in pairs(more or {}) do settings[name] = value end
    return assert(wgtwo.sandbox.start(settings))
  end

  local function subscribe(client)
    return client:events{ types = { "SMS_EVENT" }, queue = "q", start = "oldest" }
  end

  it("keeps events, positions, pools, faults and the time", function()
    do
      local sandbox <close> = start()
      for i = 1, 3 do sandbox:publish{ type = "SMS_EVENT", number = "+479999000" .. i } end
      sandbox:publish{ type = "handset_change", number = "+4799990001" }
      sandbox:numbers({ "+4791234567" })
      sandbox:fault{ method = "SendTextToSubscriber", code = "UNAVAILABLE", count = 2 }
      local client <close> = assert(wgtwo.connect(sandbox:client()))
      local events <close> = subscribe(client)
      assert.is_true(events:next(5):ack{ wait = true })
      sandbox:advance(60)
    end
    local sandbox <close> = start()
    assert.equal(1767225660, sandbox:time())
    assert.equal(4, #sandbox:events())
    assert.equal("handset_change", sandbox:events()[4].type)
    assert.equal("UNAVAILABLE", sandbox:faults()[1].code)
    assert.equal(5, sandbox:publish{ type = "SMS_EVENT" })
    assert.equal("+4791234567", sandbox:events()[5].number)
    local client <close> = assert(wgtwo.connect(sandbox:client()))
    local events <close> = subscribe(client)
    local numbers = {}
    for i = 1, 3 do
      local event = assert(events:next(5))
      numbers[i] = event.sequence
      assert(event:ack{ wait = true })
    end
    table.sort(numbers)
    assert.same({ 2, 3, 5 }, numbers)
  end)

  it("keeps how often a fault has struck: so many calls are so many, over a restart", function()
    local function code(sandbox)
      local client <close> = assert(wgtwo.connect(sandbox:client(false)))
      local _, err = client:call("GetMsisdn", { subscription_id = { value = "s" } })
      return err and err.code or "OK"
    end
    local id
    do
      local sandbox <close> = start()
      sandbox:clear_faults(sandbox:fault{ method = "GetMsisdn", code = "INTERNAL" })
      id = sandbox:fault{ method = "GetMsisdn", code = "ABORTED", count = 2 }
      assert.equal("ABORTED", code(sandbox))
    end
    local sandbox <close> = start()
    local fault = sandbox:faults()[1]
    assert.same({ id, 1, 1 }, { fault.id, fault.seen, fault.struck })
    assert.same({ "ABORTED", "OK" }, { code(sandbox), code(sandbox) })
    assert.equal(id + 1, sandbox:fault{ method = "GetMsisdn", code = "INTERNAL" })
  end)

  it("fake events go on where they were: none for a time that has not passed, none twice", function()
    local plan = { types = { "SMS_EVENT" }, rate = 10 }
    local function run(settings, seconds)
      local sandbox <close> = start(settings)
      local before = #sandbox:events()
      sandbox:advance(seconds)
      return before, sandbox:events()
    end
    local function all(events)
      local texts = {}
      for i, event in ipairs(events) do texts[i] = event.time .. " " .. core.json_encode(event.payload) end
      return texts
    end
    run({ generate = plan }, 60.05)
    local before = run({ generate = plan }, 1.5)
    assert.equal(600, before)
    local kept, events = run({}, 1.5) -- the plan is kept where nothing else is said
    assert.same({ 615, 630 }, { kept, #events })
    os.remove(path)
    assert.same(all(select(2, run({ generate = plan }, 63.05))), all(events))
    run({ generate = { types = { "VOICE_EVENT" }, rate = 1 } }, 2) -- another one is taken
    events = select(2, run({}, 0))
    assert.same({ 632, "VOICE_EVENT" }, { #events, events[#events].type })
  end)

  it("keeps the keys of id_tokens", function()
    local function keys()
      local sandbox <close> = start()
      return http{ url = sandbox.url .. "/.well-known/jwks.json" }.json.keys
    end
    local first = keys()
    assert.is_true(#first > 0)
    assert.same(first, keys())
  end)

  it("keeps the certificate, so that clients still trust it; without a file each start has its own", function()
    local function certificate(settings)
      local sandbox <close> = assert(wgtwo.sandbox.start(settings))
      local file <close> = assert(io.open(sandbox.ca_file))
      return file:read("a")
    end
    local first = certificate{ state = path }
    assert.equal(first, certificate{ state = path })
    assert.not_equal(first, certificate{})
  end)

  it("by hand, with --state: Ctrl-C while the file is written ends it, and nothing is lost", function()
    local function run(act)
      local child = process.start(([[require("wgtwo.sandbox").main({ "--state", %q })]]):format(path))
      local url = core.json_decode(child:line()).url
      local result = act(url .. "/admin/events")
      child:kill("INT") -- when the answer is there, the file is being written
      assert.equal(130, select(2, child:wait()))
      return result
    end
    local id = run(function(url)
      return http{ method = "POST", url = url, body = '{"type":"SMS_EVENT","payload":{"text":"kept"}}',
        headers = { "Content-Type: application/json" } }.json.id
    end)
    local events = run(function(url) return http{ url = url }.json.events end)
    assert.same({ 1, id, "kept" }, { #events, events[1].id, events[1].payload.text })
  end)

  -- Ends the sandbox by closing it, by a signal, or in the middle.
  local endings = { close = function(sandbox) sandbox:close() end,
    TERM = function(sandbox) sandbox.process:kill(15) end,
    KILL = function(sandbox) sandbox.process:kill(9) end }

  -- What is written of everything but the events, once it is that of this time.
  local function written(time)
    local reader = assert(require("DBI").Connect("SQLite3", path))
    local found = until_(function()
      local statement = assert(reader:prepare("select value from state where name = 'snapshot'"))
      statement:execute()
      local row = statement:fetch()
      local taken = row and core.json_decode(row[1])
      statement:close()
      reader:rollback() -- ends the reading
      return taken and taken.time >= time and taken
    end, "the writing")
    reader:close()
    return found
  end

  for name, ending in pairs(endings) do
    it("forgot the position of a stream that was open when it ended by " .. name .. ", after a quiet time", function()
      local sandbox = start{ position_kept = 60 }
      local client = assert(wgtwo.connect(sandbox:client()))
      local events = subscribe(client)
      sandbox:publish{ type = "SMS_EVENT", payload = { text = "one" } }
      assert(assert(events:next(5)):ack{ wait = true })
      local time = sandbox:advance(100)
      assert.is_nil(written(time).subscriptions[1].left_at)
      wgtwo.sleep(0.3) -- the quiet time: longer than between two writes, so that the end is one of its own
      ending(sandbox)
      client:close()
      sandbox:close()
      assert.equal(name ~= "KILL" and time or nil, written(time).subscriptions[1].left_at)
      sandbox = start{ position_kept = 60 }
      sandbox:publish{ type = "SMS_EVENT", payload = { text = "two" } }
      client = assert(wgtwo.connect(sandbox:client()))
      events = subscribe(client)
      assert.equal("two", assert(events:next(5)).sms_event.text)
      client:close()
      sandbox:close()
    end)
  end

  it("by hand: what was accepted just before SIGTERM was lost", function()
    local child = process.start(([[require("wgtwo.sandbox").main({ "--state", %q })]]):format(path))
    local url = core.json_decode(child:line()).url
    for _ = 1, 3 do
      http{ method = "POST", url = url .. "/admin/events", body = '{"type":"SMS_EVENT"}',
        headers = { "Content-Type: application/json" } }
    end
    child:kill("TERM")
    assert.equal(0, select(2, child:wait()) or 0)
    local sandbox <close> = start()
    assert.equal(3, #sandbox:events())
  end)

  it("lost to whom events were delivered, and what they acknowledged", function()
    local before
    do
      local sandbox <close> = start()
      local client <close> = assert(wgtwo.connect(sandbox:client()))
      local events <close> = subscribe(client)
      for i = 1, 3 do sandbox:publish{ type = "SMS_EVENT", number = "+479999000" .. i } end
      local first = assert(events:next(5))
      assert(events:next(5))
      assert(events:next(5))
      assert(first:ack{ wait = true })
      before = sandbox:events()
    end
    assert.same({ 1, 1, 0 }, { before[1].deliveries, before[1].acks, before[3].acks })
    for _ = 1, 2 do
      local sandbox <close> = start()
      assert.same(before, sandbox:events())
    end
  end)

  it("lost the delivery report of an SMS that was still to come", function()
    do
      local sandbox <close> = start{ delivery_report_delay = 5 }
      local client <close> = assert(wgtwo.connect(sandbox:client()))
      assert(client.sms:send_text_to_subscriber{ content = "x", to_subscriber = "+4799990001", from_address = "Shop" })
      assert.equal(1, #sandbox:events())
    end
    local sandbox <close> = start()
    sandbox:advance(5)
    local events = sandbox:events()
    assert.same({ 2, "SMS_DELIVERY_REPORT_EVENT" }, { #events, events[2].type })
  end)

  it("lost a code of the authorization code grant", function()
    local code
    do
      local sandbox <close> = start()
      code = http{ url = sandbox.url .. "/oauth2/auth?client_id=id&response_type=code&state=12345678&scope=openid"
        .. "&redirect_uri=https%3A%2F%2Fa.example%2F" }.headers.location:match("code=([^&]+)")
    end
    local sandbox <close> = start()
    assert.equal(200, http{ method = "POST", url = sandbox.url .. "/oauth2/token",
      headers = { "Content-Type: application/x-www-form-urlencoded" },
      body = "grant_type=authorization_code&client_id=id&client_secret=secret&code=" .. code
        .. "&redirect_uri=https%3A%2F%2Fa.example%2F" }.status)
  end)

  it("two of them wrote over each other's events", function()
    local sandbox <close> = start()
    sandbox:publish{ type = "SMS_EVENT" }
    local second = process.shell(LUA .. [[ -e 'require("wgtwo.sandbox").main()' -- --state ]] .. path)
    assert.equal(2, second.code)
    assert.matches("the state file " .. path .. " is in use by another sandbox", second.errors, 1, true)
    sandbox:close()
    local third <close> = start()
    assert.equal(1, #third:events())
  end)

  it("keeps tokens", function()
    local token
    do
      local sandbox <close> = start{ strict = true }
      token = assert(sandbox:client().auth:token({ "subscription.consent:read" })).access_token
    end
    local sandbox <close> = start{ strict = true }
    local options = sandbox:client(false)
    options.auth = wgtwo.oauth.static(token)
    local client <close> = assert(wgtwo.connect(options))
    assert(client:call("GetConsentsForSubscription", { phone_number = { e164 = "+4799990001" } }))
  end)

  it("has what happened until a fifth of a second before it is killed", function()
    do
      local sandbox <close> = start()
      sandbox:publish{ type = "SMS_EVENT" }
      local deadline = core.now() + 10 -- the file has it when another reader sees it
      repeat
        local seen = process.shell(LUA .. ([[ -e 'local c = require("DBI").Connect("SQLite3", %q)
          local s = c and c:prepare("select count(*) from event")
          if s and s:execute() then for row in s:rows() do print(row[1]) end end']]):format(path))
      until seen.output == "1\n" or core.now() > deadline
      sandbox.process:kill(9)
    end
    local sandbox <close> = start()
    assert.equal(1, #sandbox:events())
  end)

  it("forgets what a reset forgets", function()
    do
      local sandbox <close> = start()
      sandbox:publish{ type = "SMS_EVENT" }
      sandbox:publish{ type = "SMS_EVENT" }
      sandbox:reset()
      sandbox:publish{ type = "VOICE_EVENT" }
    end
    local sandbox <close> = start()
    assert.equal(1, #sandbox:events())
    assert.equal("VOICE_EVENT", sandbox:events()[1].type)
  end)

  it("wrote nothing any more after the file had been locked for a moment", function()
    local child = process.start(([[require("wgtwo.sandbox").main({ "--state", %q })]]):format(path))
    local url = core.json_decode(child:line()).url .. "/admin/"
    local function post(what, body)
      assert.equal(200, http{ method = "POST", url = url .. what, body = body,
        headers = { "Content-Type: application/json" } }.status)
    end
    for _ = 1, 3 do post("events", '{"type":"SMS_EVENT"}') end
    local writer = assert(require("DBI").Connect("SQLite3", path))
    until_(function() -- there is a third event, and this process holds the lock
      local statement = writer:prepare("delete from event where id = 3")
      local done = statement and statement:execute() and statement:affected() == 1
      if statement then statement:close() end
      if not done then writer:rollback() end
      return done
    end, "the writing of three events")
    post("reset", "{}")
    assert.matches("cannot write .*locked", child:line())
    writer:rollback()
    writer:close()
    post("events", '{"type":"VOICE_EVENT"}')
    child:kill("TERM")
    child:wait()
    local sandbox <close> = start()
    local events = sandbox:events()
    assert.same({ 1, "VOICE_EVENT" }, { #events, events[1].type })
  end)

  it("says why a file cannot be used", function()
    local file <close> = assert(io.open(path, "w"))
    file:write(("this is no database\n"):rep(100))
    file:flush()
    local command = LUA .. [[ -e 'require("wgtwo.sandbox").main()' -- --state %s]]
    local result = process.shell(command:format(path))
    assert.equal(2, result.code)
    assert.matches(path .. " is no state file of a sandbox", result.errors, 1, true)
    assert.is_nil(io.open(path .. "-lock"))
    result = process.shell(command:format("/nonexistent/file"))
    assert.equal(2, result.code)
    assert.matches("cannot open the state file /nonexistent/file", result.errors, 1, true)
  end)
end)
