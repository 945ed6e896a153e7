local core = require("wgtwo.core")
local patience = require("spec.support.patience")
local process = require("spec.support.process")
local support = require("spec.support.sandbox")
local wgtwo = require("wgtwo")

local open, read, http = support.open, support.read, support.http

local SUBSCRIBE <const> = "wgtwo.events.v0.EventsService/Subscribe"
local METHOD <const> = "wgtwo.subscription.v0.SubscriptionIdService/GetMsisdn"
local BY_HAND <const> = [[-e 'require("wgtwo.sandbox").main()' -- ]]

--- Whether a process is there and not a zombie.
local function is_alive(pid)
  local file <close> = io.open(("/proc/%d/stat"):format(pid))
  return file ~= nil and not file:read("a"):match("^%d+ %b() Z")
end

local function interpreter()
  local first = 0
  while arg[first - 1] do first = first - 1 end
  return process.quote(arg[first])
end

describe("sandbox", function()
  describe("process:", function()
    it("says where everything is", function()
      local sandbox <close> = support.start()
      assert.matches("^localhost:%d+$", sandbox.target)
      assert.matches("^localhost:%d+$", sandbox.plaintext_target)
      assert.matches("^http://127%.0%.0%.1:%d+$", sandbox.url)
      assert.is_true(is_alive(sandbox.pid))
    end)

    it("left its file behind where its script ended by os.exit, or a signal", function()
      for _, ending in ipairs{ "os.exit(0)", "os.execute('kill -TERM $PPID')" } do
        local result = process.lua('local sandbox = assert(require("wgtwo").sandbox.start{}) print(sandbox.ca_file) '
          .. "io.flush() " .. ending)
        local path = result.output:match("^[^\n]+")
        assert.is_truthy(path, result.errors)
        support.until_(function() return not io.open(path) end, "the end of " .. path)
      end
    end)

    it("closing ends it and removes its file; a second time does nothing", function()
      local sandbox = support.start()
      local file = assert(io.open(sandbox.ca_file))
      assert.matches("BEGIN CERTIFICATE", file:read("a"), 1, true)
      file:close()
      sandbox:close()
      assert.is_false(is_alive(sandbox.pid))
      assert.is_nil(io.open(sandbox.ca_file))
      sandbox:close()
      local nothing, err = sandbox:events()
      assert.is_nil(nothing)
      assert.equal("closed", err.kind)
    end)

    it("one that is dropped is closed by the collector", function()
      local pid = support.start().pid
      collectgarbage()
      collectgarbage()
      support.until_(function() return not is_alive(pid) end, "its end")
    end)

    for how, ending in pairs{ ["the end of its script"] = "", ["an error"] = "error('on purpose')",
        ["os.exit"] = "os.exit(3)", ["SIGKILL"] = "os.execute('kill -9 ' .. io.open('/proc/self/stat'):read('n'))" } do
      it("ends with its parent, by " .. how, function()
        local result = process.lua([[
          local sandbox = assert(require("wgtwo").sandbox.start{})
          io.stdout:write(sandbox.pid, "\n")
          io.stdout:flush()
        ]] .. ending)
        local pid = tonumber(result.output:match("^%d+"))
        assert.is_truthy(pid, result.errors)
        support.until_(function() return not is_alive(pid) end, "its end")
      end)
    end

    it("is a process group of its own, so Ctrl-C in a terminal leaves it to its parent", function()
      local sandbox <close> = support.start()
      local file <close> = assert(io.open(("/proc/%d/stat"):format(sandbox.pid)))
      assert.equal(sandbox.pid, tonumber(file:read("a"):match("^%d+ %b() %S %d+ (%d+)")))
    end)

    it("has no secret in its arguments", function()
      local sandbox <close> = support.start{ clients = { { id = "id", secret = "very-secret" } } }
      local file <close> = assert(io.open(("/proc/%d/cmdline"):format(sandbox.pid)))
      assert.is_nil(file:read("a"):find("very-secret", 1, true))
      local environment <close> = assert(io.open(("/proc/%d/environ"):format(sandbox.pid)))
      assert.is_nil(environment:read("a"):find("very-secret", 1, true))
      assert.is_nil(tostring(sandbox):find("very-secret", 1, true))
    end)

    it("starts inside a task too, and yields", function()
      local ticks = 0
      wgtwo.run(function()
        local ticker = wgtwo.spawn(function()
          while true do
            wgtwo.sleep(0.001)
            ticks = ticks + 1
          end
        end)
        local sandbox <close> = support.start()
        assert.is_true(ticks > 0)
        assert(sandbox:publish{ type = "SMS_EVENT" })
        ticker:cancel()
      end)
    end)

    it("idles at no CPU", function()
      local sandbox <close> = support.start()
      local function ticks()
        local file <close> = assert(io.open(("/proc/%d/stat"):format(sandbox.pid)))
        local user, system = file:read("a"):match("^%d+ %b() %S %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)")
        return user + system
      end
      support.until_(function() -- after what starting still does
        local before = ticks()
        wgtwo.sleep(1)
        return ticks() - before <= 1
      end, "a second without CPU")
    end)
  end)

  describe("misuse", function()
    it("raises: unknown options, wrong values, the nearest name", function()
      local function raised(options)
        local ok, err = pcall(wgtwo.sandbox.start, options)
        assert.is_false(ok)
        return err
      end
      assert.matches('unknown option "sead"; did you mean "seed"', raised{ sead = 1 }, 1, true)
      assert.matches("clock", raised{ clock = "sundial" }, 1, true)
      assert.matches("generate", raised{ generate = { types = { "SMS_EVNT" } } }, 1, true)
      assert.matches("clients", raised{ clients = { { id = "x" } } }, 1, true)
    end)

    it("of two clients with one id, one was refused at the token endpoint", function()
      local clients = { { id = "a", secret = "one" }, { id = "b", secret = "one" }, { id = "a", secret = "two" } }
      assert.error_matches(function() wgtwo.sandbox.start{ clients = clients } end,
        'clients: two have the id "a"; each needs one of its own', 1, true)
    end)

    it("a host that what is announced does not lead to is refused; of all interfaces 127.0.0.1 is announced", function()
      for _, host in ipairs{ "127.0.0.2", "::1", "192.0.2.1", "localhost", "" } do
        assert.error_matches(function() wgtwo.sandbox.start{ host = host } end, 'host: "127.0.0.1", or "0.0.0.0"', 1,
          true)
      end
      local sandbox, client = support.start_with_client{ host = "0.0.0.0" }
      assert.matches("^http://127%.0%.0%.1:%d+$", sandbox.url)
      assert.is_true(sandbox:reset())
      assert(client:call("GetMsisdn", { subscription_id = { value = "s" } }))
      support.close(sandbox, client)
    end)

    it("of a running one raises at the script's line", function()
      local sandbox <close> = support.start()
      local function raised(f, ...)
        local ok, err = pcall(f, sandbox, ...)
        assert.is_false(ok)
        assert.matches("sandbox_spec.lua", err, 1, true)
        return err
      end
      assert.matches("SMS_EVENT", raised(function(s) s:publish{ type = "SMS_EVNT" } end), 1, true)
      assert.matches("text", raised(function(s) s:publish{ type = "SMS_EVENT", payload = { txt = "x" } } end), 1, true)
      assert.matches("number", raised(function(s) s:publish{ type = "SMS_EVENT", number = "123" } end), 1, true)
      assert.matches("client", raised(function(s) s:publish{ type = "SMS_EVENT", client = "none" } end), 1, true)
    end)

    it("a port that is taken is an error, and says so", function()
      local sandbox <close> = support.start()
      local nothing, err = wgtwo.sandbox.start{ http_port = math.tointeger(tonumber(sandbox.url:match("%d+$"))) }
      assert.is_nil(nothing)
      assert.equal("http", err.kind)
    end)
  end)

  describe("by hand:", function()
    it("--help says how", function()
      local result = process.shell(interpreter() .. " " .. BY_HAND .. "--help")
      assert.equal(0, result.code)
      for word in pairs{ ["--port"] = 1, ["--http-port"] = 1, ["--strict"] = 1, ["--state"] = 1, ["--scenario"] = 1,
          ["0404"] = 1, ["0503"] = 1 } do
        assert.matches(word, result.output, 1, true)
      end
    end)

    it("one line of JSON says when it is ready; SIGINT and SIGTERM end it", function()
      for signal, code in pairs{ INT = 130, TERM = 0 } do
        local child = process.start([[require("wgtwo.sandbox").main({ "--clock", "virtual", "--http-port=0" })]])
        local ready = core.json_decode(child:line())
        assert.is_true(ready.ready)
        assert.equal(child.pid, ready.pid)
        assert.equal(ready.target, http{ url = ready.url .. "/" }.json.target)
        child:kill(signal)
        local _, ended = child:wait()
        assert.equal(code, ended or 0)
      end
    end)

    it("a wrong option is status 2, with the nearest one", function()
      local result = process.shell(interpreter() .. " " .. BY_HAND .. "--strct")
      assert.equal(2, result.code)
      assert.matches("--strict", result.errors, 1, true)
      assert.equal(2, process.shell(interpreter() .. " " .. BY_HAND .. "--port none").code)
    end)

    it("a wrong value is shown, with what is wrong with it", function()
      local config = os.tmpname()
      local file <close> = assert(io.open(config, "w"))
      file:write("[1]"):flush()
      local folder = os.tmpname()
      os.remove(folder)
      assert(os.execute("mkdir " .. folder))
      for words, message in pairs{
        ["--config " .. folder] = "--config: " .. folder .. ": Is a directory",
        ["--seed 1.5"] = "--seed: not an integer: 1.5", ["--generate SMS_EVENT --rate x"] = "--rate: not a number: x",
        ["--generate ''"] = "generate[1].types must not be empty",
        ["--config " .. config] = "--config: " .. config .. " is no JSON object: not in braces",
      } do
        local result = process.shell(interpreter() .. " " .. BY_HAND .. words)
        assert.same({ 2, "wgtwo sandbox: " .. message .. "\n" }, { result.code, result.errors })
      end
      os.remove(config)
      os.remove(folder)
    end)

    it("is the environment \"local\" of scripts that WGTWO_SANDBOX is set for", function()
      local sandbox <close> = support.start()
      local result = process.lua([[
        local wgtwo = require "wgtwo"
        local client <close> = assert(wgtwo.connect{ env = "local" })
        print(assert(client:call("GetMsisdn", { subscription_id = { value = "s" } })).phone_number.e164)
      ]], { env = { WGTWO_SANDBOX = sandbox.url } })
      assert.matches("^%+", result.output, nil, result.errors)
    end)
  end)

  describe("control:", function()
    local sandbox, client

    setup(function()
      sandbox = support.start{ clock = "virtual", clients = {
        { id = "id", secret = "secret" }, { id = "other", secret = "secret2" },
      } }
      client = support.connect(sandbox)
    end)

    teardown(function()
      client:close()
      sandbox:close()
    end)

    before_each(function() assert(sandbox:reset()) end)

    it("a published payload is laid over a default, a member of a oneof in place of the default's", function()
      local id = assert(sandbox:publish{ type = "SMS_EVENT", number = "+4799990007", payload = {
        from_text_address = { text_address = "Shop" }, bytes = "\0\255" } })
      local event = sandbox:events()[1]
      assert.equal(id, event.id)
      assert.equal("+4799990007", event.number)
      assert.equal("Shop", event.payload.from_text_address.text_address)
      assert.is_nil(event.payload.from_e164)
      assert.equal("AP8=", event.payload.bytes)
      assert.is_nil(event.payload.text)
      assert.is_string(event.payload.uuid)
    end)

    it("events are listed, all or some", function()
      for _, kind in ipairs{ "SMS_EVENT", "VOICE_EVENT", "SMS_EVENT", "handset_change" } do
        assert(sandbox:publish{ type = kind })
      end
      assert.equal(4, #sandbox:events())
      assert.equal(2, #sandbox:events{ type = "SMS_EVENT" })
      assert.equal(1, #sandbox:events{ limit = 1 })
      assert.equal("handset_change", sandbox:events{ after = 3 }[1].type)
      assert.equal("v1", sandbox:events()[4].api)
    end)

    it("streams are listed, and ended with any status", function()
      local stream <close> = open(sandbox, client, SUBSCRIBE, { type = { "SMS_EVENT" }, client_id = "c",
        queue_name = "q" })
      local listed = sandbox:streams()[1]
      assert.equal(SUBSCRIBE, listed.method)
      assert.equal("queue q", listed.subscription)
      assert.same({ "SMS_EVENT" }, listed.types)
      assert.equal(1, sandbox:end_streams{ method = "Subscribe", code = "UNAVAILABLE" })
      assert.equal("UNAVAILABLE", (support.ending(stream)))
      assert.same({}, sandbox:streams())
    end)

    it("a stream is listed once its request is here: what is published then reaches it", function()
      local channel <close> = assert(core.channel{ target = sandbox.plaintext_target, plaintext = true })
      local call <close> = core.call(channel, { path = "/" .. SUBSCRIBE, kind = "bidi",
        reply = require("wgtwo.schema").type("wgtwo.events.v0.SubscribeEventsResponse") })
      support.until_(function() return #sandbox:journal{ method = "Subscribe" } == 1 end, "the call")
      assert.same({}, sandbox:streams())
      assert(call:write(core.encode(require("wgtwo.schema").type("wgtwo.events.v0.SubscribeEventsRequest"),
        { type = { "SMS_EVENT" } })))
      support.until_(function() return #sandbox:streams() == 1 end, "the stream")
    end)

    it("the journal has method, client, metadata, messages and outcome, and no secret", function()
      local mine <close> = support.connect(sandbox, { "subscription.id:read" })
      mine:call(METHOD, { subscription_id = { value = "s" } }, { metadata = { ["x-one"] = "1" } })
      client:call("wgtwo.sms.v1.SmsService/SendTextToSubscriber", {})
      local entries = sandbox:journal()
      assert.equal("POST /oauth2/token", entries[1].method)
      assert.equal("id", entries[1].client)
      local entry = entries[2]
      assert.same({ METHOD, "id", "OK", 1, 1 }, { entry.method, entry.client, entry.code, entry.received, entry.sent })
      assert.equal("s", entry.requests[1].subscription_id.value)
      assert.is_string(entry.replies[1].phone_number.e164)
      local metadata = {}
      for _, pair in ipairs(entry.metadata) do metadata[pair[1]] = pair[2] end
      assert.equal("1", metadata["x-one"])
      assert.equal("***", metadata.authorization)
      assert.is_nil(core.json_encode(entries):find("sandbox_at_", 1, true))
      assert.equal("INVALID_ARGUMENT", entries[3].code)
      assert.equal(1, #sandbox:journal{ client = "id", method = "GetMsisdn" })
    end)

    it("a reset ends every stream and forgets everything but the time and the tokens", function()
      local mine <close> = support.connect(sandbox, { "events.sms.subscribe" })
      local stream <close> = open(sandbox, mine, SUBSCRIBE, { type = { "SMS_EVENT" }, durable_name = "d",
        queue_name = "q" })
      sandbox:publish{ type = "SMS_EVENT" }
      sandbox:fault{ code = "ABORTED" }
      local time = sandbox:advance(10)
      assert(sandbox:reset())
      assert.equal("UNAVAILABLE", (support.ending(stream)))
      assert.same({ {}, {}, {}, {} }, { sandbox:events(), sandbox:faults(), sandbox:streams(), sandbox:journal() })
      assert.equal(time, sandbox:time())
      local again <close> = open(sandbox, mine, SUBSCRIBE, { type = { "SMS_EVENT" }, durable_name = "d",
        queue_name = "q" })
      support.quiet(sandbox, again)
    end)

    it("fake events: of some types, at a rate, about the pool of a client", function()
      sandbox:numbers({ "+4799990021" })
      sandbox:numbers({ "+4799990022" }, "other")
      sandbox:generate{ { types = { "SMS_EVENT", "handset_change" }, rate = 2 }, { types = { "VOICE_EVENT" },
        client = "other" } }
      sandbox:advance(2)
      local seen = {}
      for _, event in ipairs(sandbox:events()) do
        seen[#seen + 1] = event.type .. " " .. event.number .. " " .. (event.client or "all")
      end
      table.sort(seen)
      assert.same({ "SMS_EVENT +4799990021 all", "SMS_EVENT +4799990021 all", "VOICE_EVENT +4799990022 other",
        "VOICE_EVENT +4799990022 other", "handset_change +4799990021 all", "handset_change +4799990021 all" }, seen)
      sandbox:generate{}
      sandbox:advance(10)
      assert.equal(6, #sandbox:events())
    end)

    it("a rate that the machine cannot do leaves events out, and the sandbox answers", function()
      local real <close> = support.start{ generate = { rate = 1e5 }, history_events = 1000 }
      local before = core.now()
      for _ = 1, 5 do assert.is_table(real:streams()) end
      assert.is_true(core.now() - before < patience.soon)
    end)

    it("two runs with one seed are equal, byte for byte; with another they differ", function()
      local function run(seed)
        local other <close> = support.start{ clock = "virtual", seed = seed, generate = { rate = 10 } }
        local by <close> = support.connect(other)
        local stream <close> = open(other, by, SUBSCRIBE, { type = { "SMS_EVENT", "VOICE_EVENT" } })
        other:advance(5)
        local bytes = {}
        for i = 1, 6 do bytes[i] = core.bytes(read(stream)) end
        return table.concat(bytes), core.json_encode(other:events())
      end
      local bytes, events = run(7)
      local again, events_again = run(7)
      assert.equal(bytes, again)
      assert.equal(events, events_again)
      assert.not_equal(bytes, (run(8)))
    end)

    it("virtual time moves only when told to; a real clock cannot be told", function()
      local before = sandbox:time()
      assert.equal(before + 3600, sandbox:advance(3600))
      assert.equal(before + 3600, sandbox:time())
      local real <close> = support.start()
      assert.is_true(math.abs(real:time() - core.time()) < 5)
      local nothing, err = real:advance(1)
      assert.is_nil(nothing)
      assert.matches("virtual", err.message, 1, true)
    end)

    it("a connection is ended gracefully after 60 ± 6 minutes, each at its own", function()
      local ages = {}
      for i = 1, 4 do
        local by <close> = support.connect(sandbox)
        local stream <close> = open(sandbox, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
        local began = sandbox:time()
        sandbox:advance(54 * 60 - 1)
        assert.equal(1, #sandbox:streams())
        while #sandbox:streams() > 0 do sandbox:advance(30) end
        ages[i] = sandbox:time() - began
        assert.is_true(ages[i] <= 66 * 60 + 30)
        assert.equal("OK", (support.ending(stream)))
      end
      assert.is_false(ages[1] == ages[2] and ages[2] == ages[3] and ages[3] == ages[4])
    end)

    --- A sandbox whose connections live for 600 s, all of them, and a client of it.
    local function short_lived()
      return support.start_with_client{ clock = "virtual", connection_age = 600, connection_age_spread = 0 }
    end

    it("a connection grows older without streams too; its age began again with every stream", function()
      local other, by = short_lived()
      assert(by:call(METHOD, { subscription_id = { value = "s" } })) -- a call begins it as well
      for _ = 1, 2 do
        other:advance(250)
        local stream <close> = open(other, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
        stream:cancel()
        support.until_(function() return #other:streams() == 0 end, "the end of the stream")
      end
      local stream <close> = open(other, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
      other:advance(99)
      assert.equal(1, #other:streams())
      other:advance(2)
      assert.equal("OK", (support.ending(stream)))
      support.close(other, by)
    end)

    it("after its end a connection counts as new, and after a reset", function()
      local other, by = short_lived()
      local function is_new()
        local stream <close> = open(other, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
        other:advance(599)
        local before = #other:streams()
        other:advance(2)
        return before == 1 and support.ending(stream) == "OK"
      end
      assert.is_true(is_new())
      assert.is_true(is_new())
      assert(by:call(METHOD, { subscription_id = { value = "s" } }))
      other:advance(300)
      assert(other:reset())
      assert.is_true(is_new())
      support.close(other, by)
    end)

    it("the age of a connection is a setting; 0 is none", function()
      local function ending_after(options)
        options.clock = "virtual"
        local other <close> = support.start(options)
        local by <close> = support.connect(other)
        local stream = open(other, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
        other:advance(599)
        local before = #other:streams()
        other:advance(2)
        local after = #other:streams()
        stream:close()
        return before, after
      end
      assert.same({ 1, 0 }, { ending_after{ connection_age = 600, connection_age_spread = 0 } })
      assert.same({ 1, 1 }, { ending_after{ connection_age = 0 } })
    end)

    it("all streams of a connection end together", function()
      local streams = {}
      for i = 1, 3 do streams[i] = open(sandbox, client, SUBSCRIBE, { type = { "SMS_EVENT" } }) end
      sandbox:advance(67 * 60)
      for _, stream in ipairs(streams) do
        assert.equal("OK", (support.ending(stream)))
        stream:close()
      end
    end)

    it("streams can have a limit of their own", function()
      local limited <close> = support.start{ clock = "virtual", stream_limit = 60 }
      local by <close> = support.connect(limited)
      local stream <close> = open(limited, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
      limited:advance(59)
      assert.equal(1, #limited:streams())
      limited:advance(2)
      assert.equal("OK", (support.ending(stream)))
    end)

    it("a snapshot puts everything back, in another sandbox too", function()
      local mine <close> = support.connect(sandbox, { "events.sms.subscribe" })
      local request = { type = { "SMS_EVENT" }, durable_name = "d", queue_name = "q", manual_ack = { enable = true } }
      local stream = open(sandbox, mine, SUBSCRIBE, request)
      for i = 1, 3 do sandbox:publish{ type = "SMS_EVENT", payload = { text = "e" .. i } } end
      local held = read(stream).event.metadata
      read(stream)
      read(stream)
      assert(mine:call("EventsService/Ack", { inbox = held.ack_inbox, sequence = held.sequence }))
      sandbox:fault{ method = "GetMsisdn", code = "ABORTED" }
      sandbox:numbers({ "+4799990031" })
      stream:close()
      local snapshot = assert(sandbox:snapshot())

      local other <close> = support.start{ clock = "virtual", clients = { { id = "id", secret = "secret" } } }
      assert(other:restore(snapshot))
      assert.equal(sandbox:time(), other:time())
      assert.equal(3, #other:events())
      local nobody <close> = support.connect(other)
      local _, err = nobody:call(METHOD, {})
      assert.equal("ABORTED", err.code)
      local there <close> = support.connect(other, { "events.sms.subscribe" })
      stream = open(other, there, SUBSCRIBE, request)
      local texts = {}
      for i = 1, 2 do
        local event = read(stream).event
        texts[i] = event.sms_event.text .. " " .. tostring(event.metadata.is_redelivered)
      end
      assert.same({ "e2 true", "e3 true" }, texts)
      support.quiet(other, stream)
      assert.equal(4, other:publish{ type = "SMS_EVENT" })
      assert.equal("+4799990031", other:events()[4].number)
      stream:close()
      assert.has_error(function() other:restore{ version = 0 } end)
    end)

    it("changes over HTTP need the type of JSON; what is wrong is 400 with a reason", function()
      local function send(method, path, body, kind)
        return http{ method = method, url = sandbox.url .. path, body = body, headers = kind and { "Content-Type: "
          .. kind } }
      end
      assert.equal(415, send("POST", "/admin/events", '{"type":"SMS_EVENT"}', "text/plain").status)
      assert.equal(200, send("POST", "/admin/events", '{"type":"SMS_EVENT"}', "application/json").status)
      local refused = send("POST", "/admin/events", '{"type":"NO_EVENT"}', "application/json")
      assert.equal(400, refused.status)
      assert.is_string(refused.json.error_description)
      assert.equal(400, send("POST", "/admin/events", "nonsense", "application/json").status)
      assert.equal(400, send("POST", "/admin/clock", '{"advance":-1}', "application/json").status)
      assert.equal(404, send("DELETE", "/admin/faults/99").status)
    end)
  end)

  it("holds 200 streams with 200 events in flight each", function()
    local sandbox <close> = support.start{ clock = "virtual" }
    local client <close> = support.connect(sandbox)
    local streams = {}
    for i = 1, 200 do
      streams[i] = assert(client:stream(SUBSCRIBE, { type = { "SMS_EVENT" }, max_in_flight = 200,
        manual_ack = { enable = true } }))
    end
    support.until_(function() return #sandbox:streams() == 200 end, "the opening of all streams")
    sandbox:generate{ { types = { "SMS_EVENT" }, rate = 1000 } }
    sandbox:advance(0.25)
    local function is_full()
      for _, stream in ipairs(sandbox:streams()) do
        if stream.in_flight < 200 then return false end
      end
      return true
    end
    support.until_(is_full, "200 in flight")
    for _, stream in ipairs(streams) do
      for _ = 1, 200 do read(stream) end
      stream:close()
    end
  end)

  it("memory is bounded by the history", function()
    local sandbox <close> = support.start{ clock = "virtual", history_events = 1000, generate = { rate = 1000 } }
    local function resident()
      for line in io.lines(("/proc/%d/status"):format(sandbox.pid)) do
        local kilobytes = line:match("^VmRSS:%s*(%d+) kB")
        if kilobytes then return tonumber(kilobytes) / 1024 end
      end
    end
    sandbox:advance(5)
    local before = resident()
    for _ = 1, 5 do sandbox:advance(5) end
    assert.equal(1000, #sandbox:events())
    if not os.getenv("WGTWO_TEST_SANITIZER") then
      assert.is_true(resident() - before < 20, resident() - before .. " MB more")
    end
  end)
end)
