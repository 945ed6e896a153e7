local core = require("wgtwo.core")
local diagnosis = require("wgtwo.diagnosis")
local httpd = require("wgtwo.httpd")
local live = require("spec.support.live")
local pair = require("spec.support.pair")
local patience = require("spec.support.patience")
local SHORT_ADDRESS = require("spec.support.short_address")
local tcp = require("spec.support.tcp")
local web = require("spec.support.web")
local wgtwo = require("wgtwo")

local METHOD = "wgtwo.consents.v0.ConsentService/GetConsentsForSubscription"
local HOUR = 3600

describe("diagnosis", function()
  local authority = httpd.certificate({ is_ca = true, subject = "test authority" })
  local stranger = httpd.certificate({ is_ca = true, subject = "strange authority" })
  local ca_file, closables

  local function keep(closable)
    closables[#closables + 1] = closable
    return closable
  end

  setup(function()
    ca_file = web.file(authority.cert)
  end)

  teardown(function()
    os.remove(ca_file)
  end)

  before_each(function()
    closables = {}
  end)

  after_each(function()
    for i = #closables, 1, -1 do closables[i]:close() end
  end)

  -- A gRPC server; with `options` for its certificate it speaks TLS. Returns its port.
  local function serve(options, client_ca)
    local server, tls = keep(core.server()), nil
    if options then
      options.ca = options.ca or authority
      local certificate = httpd.certificate(options)
      tls = { cert = certificate.cert, key = certificate.key, client_ca = client_ca }
    end
    local port = assert(server:listen("127.0.0.1:0", tls))
    server:start()
    return port
  end

  -- The error of a call to a target that cannot be connected to; it does not wait for the connect timeout.
  local function failure(target, options)
    local all = { target = target, auth = false, logger = false, connect_timeout = 300 }
    for key, value in pairs(options or {}) do all[key] = value end
    if not all.plaintext and not all.tls then all.tls = { ca_file = ca_file } end
    local client = keep(assert(wgtwo.connect(all)))
    local before = core.now()
    local reply, err = client:call(METHOD, {})
    assert.is_nil(reply)
    assert.equal("UNAVAILABLE", err.code)
    assert.not_match("\n", tostring(err))
    assert.is_true(core.now() - before < patience.soon)
    return err
  end

  local function probe(options)
    options.host, options.timeout = options.host or "localhost", options.timeout or 5
    local op <close> = assert(core.probe(options))
    return pair.take(op)
  end

  describe("of a call to", function()
    local function check(pattern, hint, target, options)
      local err = failure(target, options)
      assert.match("^cannot connect to " .. target:gsub("%p", "%%%0") .. ": " .. pattern .. "$", err.message)
      assert.match(hint, err.hint)
    end

    it("a port where nothing listens: refused", function()
      local port = keep(httpd.listen({})):port()
      closables[#closables]:close()
      check("nothing listens there: connection refused", "is the server running", "localhost:" .. port)
      check("nothing listens there: connection refused", "is the server running", "127.0.0.1:" .. port,
        { plaintext = true })
    end)

    it("a name that is not known: name not found", function()
      check('no address is known for the name "nosuch.invalid"', "is the name right", "nosuch.invalid:443")
    end)

    it("a TLS port in plaintext", function()
      check("the server speaks TLS, and this connection is plaintext", "without plaintext",
        "localhost:" .. serve({ names = { "localhost" } }), { plaintext = true })
    end)

    it("a plaintext port with TLS", function()
      check("the server does not speak TLS, but plaintext", "is the port right", "localhost:" .. serve())
    end)

    it("a server whose CA is not known", function()
      check('the certificate is signed by "strange authority", which is not trusted here', "tls.ca_file",
        "localhost:" .. serve({ names = { "localhost" }, ca = stranger }))
    end)

    it("a server with a certificate for another name", function()
      local port = serve({ names = { "other.example", "www.example" }, addresses = { "192.0.2.1" } })
      check('the certificate is for "other.example", "www.example", 192.0.2.1, not "localhost"', "tls.server_name",
        "localhost:" .. port)
      check('the certificate is for "other.example", "www.example", 192.0.2.1, not "127.0.0.1"', "tls.server_name",
        "127.0.0.1:" .. port)
      check('the certificate is for "other.example", "www.example", 192.0.2.1, not "third.example"',
        "tls.server_name", "localhost:" .. port, { tls = { ca_file = ca_file, server_name = "third.example" } })
    end)

    it("a server with a certificate that is over", function()
      local now = os.time()
      check("the certificate expired at %d%d%d%d%-%d%d%-%d%d %d%d:%d%d UTC", "needs a new certificate",
        "localhost:" .. serve({ names = { "localhost" }, not_before = now - 2 * HOUR, not_after = now - HOUR }))
    end)

    it("a server with a certificate of the future", function()
      check("the certificate is not valid before .* UTC", "clock",
        "localhost:" .. serve({ names = { "localhost" }, not_before = os.time() + HOUR }))
    end)

    it("a server that wants a client certificate", function()
      check("the server asks for a client certificate", "tls.cert_file",
        "localhost:" .. serve({ names = { "localhost" } }, authority.cert))
    end)

    it("a server that wants another client certificate", function()
      local own = httpd.certificate({ subject = "client", client = true, ca = stranger })
      local cert_file, key_file = web.file(own.cert), web.file(own.key)
      check("the server does not accept the client certificate", "tls.cert_file",
        "localhost:" .. serve({ names = { "localhost" } }, authority.cert),
        { tls = { ca_file = ca_file, cert_file = cert_file, key_file = key_file } })
      os.remove(cert_file)
      os.remove(key_file)
    end)

    it("a peer that accepts and stays silent: timeout", function()
      local port = keep(tcp.listen()).port
      check("no answer to the TLS handshake within [%d.]+ s", "firewall", "localhost:" .. port,
        { connect_timeout = 0.5 })
      check("the server accepts the connection, but stays silent: timeout", "firewall", "127.0.0.1:" .. port,
        { plaintext = true, connect_timeout = 0.5 })
    end)
  end)

  it("leaves alone what a server says itself", function()
    local settings = { plaintext = true }
    for _, status in ipairs({
      { code = 14, message = "maintenance" },
      { code = 14, message = "Socket closed" },
      { code = 14 },
      { code = 14, message = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
        .. "Connection refused", error = "UNKNOWN:Error received from peer ipv4:127.0.0.1:1" },
    }) do
      assert.is_nil((diagnosis.explain("localhost:1", settings, status)))
    end
  end)

  it("gives gRPC's own words where it knows no better", function()
    local port = serve({ names = { "localhost" } })
    local settings = { roots = authority.cert, tls = {}, loopback = true }
    local text, hint, reason = diagnosis.explain("localhost:" .. port, settings, {
      message = ("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:%d: Strange"):format(port),
    })
    assert.equal(("cannot connect to localhost:%d: Strange"):format(port), text)
    assert.is_nil(hint)
    assert.equal("other", reason)
  end)

  it("looks once for tasks that fail the same way", function()
    local port = serve({ names = { "localhost" }, ca = stranger })
    local count, original = 0, core.probe
    finally(function() core.probe = original end)
    core.probe = function(options)
      count = count + 1
      return original(options)
    end
    local settings = { roots = authority.cert, tls = {}, loopback = true }
    local status = { message = ("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:%d: "
      .. "Ssl handshake failed"):format(port) }
    local reasons = {}
    wgtwo.run(function()
      for i = 1, 20 do
        wgtwo.spawn(function() reasons[i] = select(3, diagnosis.explain("localhost:" .. port, settings, status)) end)
      end
    end)
    for i = 1, 20 do assert.equal("unknown_ca", reasons[i]) end
    assert.equal(1, count)
  end)

  describe("probe", function()
    it("finds nothing wrong with a good server", function()
      local own = httpd.certificate({ subject = "client", client = true, ca = authority })
      assert.same({ ok = true }, probe({ port = serve(), plaintext = true }))
      local port = serve({ names = { "localhost" }, addresses = { "127.0.0.1" } })
      assert.same({ ok = true }, probe({ port = port, roots = authority.cert }))
      assert.same({ ok = true }, probe({ host = "127.0.0.1", port = port, roots = authority.cert }))
      port = serve({ names = { "other.example" } }, authority.cert)
      assert.same({ ok = true },
        probe({ port = port, roots = authority.cert, server_name = "other.example", cert = own.cert, key = own.key }))
      assert.same({ ok = true }, probe({ port = port, insecure_skip_verify = true, cert = own.cert, key = own.key }))
    end)

    it("tells each reason", function()
      local tls, plain = serve({ names = { "localhost" } }), serve()
      assert.equal("refused", probe({ port = 1 }).reason)
      assert.equal("name_not_found", probe({ host = "nosuch.invalid", port = 1 }).reason)
      assert.equal("tls_server", probe({ port = tls, plaintext = true }).reason)
      assert.equal("plaintext_server", probe({ port = plain, roots = authority.cert }).reason)
      assert.equal("unknown_ca", probe({ port = tls, roots = stranger.cert }).reason)
      assert.equal("unknown_ca", probe({ port = tls }).reason)
      assert.equal("wrong_name", probe({ port = tls, roots = authority.cert, server_name = "x" }).reason)
      assert.equal("client_certificate", probe({ port = serve({ names = { "localhost" } }, authority.cert),
        roots = authority.cert }).reason)
      local silent = keep(tcp.listen())
      assert.equal("timeout", probe({ port = silent.port, timeout = 0.1 }).reason)
      assert.equal("timeout", probe({ port = silent.port, timeout = 0.1, plaintext = true }).reason)
      assert.equal("other", probe({ port = tls, roots = "nonsense" }).reason)
    end)

    it("reads no further than a certificate's address is long", function()
      local server = keep(assert(httpd.listen(SHORT_ADDRESS))) -- gRPC 1.51 ends the process when it gets to see it
      local found = probe({ port = server:port(), roots = SHORT_ADDRESS.cert, server_name = "other.example" })
      assert.same({ reason = "wrong_name", text = 'the certificate is for no name, not "other.example"' }, found)
    end)

    it("tells a web server from an API", function()
      local certificate = httpd.certificate({ names = { "localhost" }, ca = authority })
      local plain, tls = keep(httpd.listen({})), keep(httpd.listen({ cert = certificate.cert, key = certificate.key }))
      assert.match("HTTP", probe({ port = plain:port(), plaintext = true }).text)
      assert.match("HTTP/2", probe({ port = tls:port(), roots = authority.cert }).text)
      assert.equal("tls_server", probe({ port = tls:port(), plaintext = true }).reason)
    end)

    it("tells that the server ends the connection", function()
      local server = keep(tcp.listen())
      for _, plaintext in ipairs({ true, false }) do
        local op = core.probe({ host = "127.0.0.1", port = server.port, plaintext = plaintext, timeout = 5 })
        tcp.until_(function()
          for _, peer in ipairs(server.peers) do
            if peer:count() > 0 then peer:reset() end
          end
          return op:take() ~= false
        end)
        assert.equal("reset", op:take().reason)
        op:close()
      end
    end)

    it("ends when it is closed or collected", function()
      local silent = keep(tcp.listen())
      core.probe({ host = "127.0.0.1", port = silent.port, timeout = 60 }):close()
      core.probe({ host = "127.0.0.1", port = silent.port, timeout = 60, plaintext = true })
      assert.equal(0, (live.settle()))
    end)

    it("refuses misuse", function()
      local bad = { {}, { host = "x" }, { port = 1 }, { host = "x", port = 0 }, { host = "x", prot = 1 } }
      for i, options in ipairs(bad) do
        assert.has_error(function() core.probe(options) end, nil, ("case %d"):format(i))
      end
    end)
  end)
end)
