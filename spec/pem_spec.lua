local core = require("wgtwo.core")
local httpd = require("wgtwo.httpd")
local short_address = require("spec.support.short_address")
local web = require("spec.support.web")
local wgtwo = require("wgtwo")

describe("PEM, before gRPC gets it,", function()
  local authority = httpd.certificate({ is_ca = true, subject = "an authority" })
  local server = httpd.certificate({ names = { "a.example" }, addresses = { "127.0.0.1", "::1" }, ca = authority })

  local function refuses(pattern, ...)
    local none, reason = core.check_pem(...)
    assert.is_nil(none)
    assert.matches(pattern, reason)
  end

  it("is good: certificates, a key, other things between them, the line ends of Windows", function()
    assert.is_true(core.check_pem(authority.cert))
    assert.is_true(core.check_pem(server.cert, server.key))
    assert.is_true(core.check_pem(server.cert .. authority.cert, server.key))
    assert.is_true(core.check_pem("a comment\n" .. server.key .. server.cert))
    assert.is_true(core.check_pem((server.cert:gsub("\n", "\r\n"))))
  end)

  it("has no certificate", function()
    for _, text in ipairs({ "", "text", server.key, (server.cert:gsub("M", "#")), server.cert:sub(1, 200) }) do
      refuses("^it has no certificate that can be read$", text)
    end
  end)

  it("has another certificate's key, or none", function()
    refuses("^the key is that of another certificate$", server.cert, authority.key)
    refuses("^the key is that of another certificate$", authority.cert .. server.cert, server.key)
    refuses("^its key cannot be read$", server.cert, server.cert)
  end)

  it("is for an IP address of one byte, which would end the process", function()
    refuses("IP address", short_address.cert)
    refuses("IP address", server.cert .. short_address.cert)
    local listening <close> = core.server()
    local port, reason = listening:listen("127.0.0.1:0", short_address)
    assert.is_nil(port)
    assert.matches("^this certificate cannot be used: it has a certificate for an IP address", reason)
    local options = { cert = server.cert, key = server.key, client_ca = short_address.cert }
    assert.is_nil((listening:listen("127.0.0.1:0", options)))
  end)

  it("is named by the option of wgtwo.connect that it came from", function()
    local files = {}
    finally(function()
      for _, path in pairs(files) do os.remove(path) end
    end)
    for name, text in pairs({ ca = server.ca, cert = server.cert, key = server.key, short = short_address.cert,
      zero = server.ca .. "\0" }) do
      files[name] = web.file(text)
    end
    local function refused(tls)
      local client, err = wgtwo.connect({ target = "localhost:1", auth = false, tls = tls })
      assert.is_nil(client)
      return err.message
    end
    assert.equal(("tls.ca_file: %s: it has no certificate that can be read"):format(files.key),
      refused({ ca_file = files.key }))
    assert.matches("^tls.ca_file: .*IP address", refused({ ca_file = files.short }))
    assert.equal(("tls.ca_file: %s is not in PEM format"):format(files.zero), refused({ ca_file = files.zero }))
    assert.matches("^tls.cert_file: .*another certificate",
      refused({ ca_file = files.ca, cert_file = files.ca, key_file = files.key }))
    local client <close> = assert(wgtwo.connect({ target = "localhost:1", auth = false,
      tls = { ca_file = files.ca, cert_file = files.cert, key_file = files.key } }))
    assert.is_false(client.closed)
  end)
end)
