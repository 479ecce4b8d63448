//! What a person is told of a browser: its name and its system.

/// Browsers by what stands in their user agents, those first that also name others.
const BROWSERS: [(&str, &str); 13] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];

/// Systems in the same way.
const SYSTEMS: [(&str, &str); 8] = [
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// The longest user agent that is shown as it is, in characters.
const MAX_SHOWN: usize = 60;

/// A user agent, as far as it is understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Device {
    Known {
        browser: &'static str,
        system: &'static str,
    },
    /// The beginning of the user agent, for a browser or a system that is not known.
    Other(String),
}

impl Device {
    pub(super) fn of(user_agent: &str) -> Self {
        let find = |all: &[(&str, &'static str)]| {
            all.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
        };
        match (find(&BROWSERS), find(&SYSTEMS)) {
            (Some(browser), Some(system)) => Self::Known { browser, system },
            _ if user_agent.chars().count() > MAX_SHOWN => {
                Self::Other(user_agent.chars().take(MAX_SHOWN).chain(['…']).collect())
            }
            _ => Self::Other(user_agent.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_browsers_are_told_by_name() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        for (user_agent, browser, system) in [
            (chrome, "Chrome", "Linux"),
            (
                &format!("{chrome} Edg/140.0").replace("X11; Linux", "Windows NT 10.0"),
                "Edge",
                "Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
                "Safari",
                "macOS",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 CriOS/140.0 Mobile Safari/604.1",
                "Chrome",
                "iOS",
            ),
            (
                "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
                "Firefox",
                "Android",
            ),
        ] {
            assert_eq!(Device::of(user_agent), Device::Known { browser, system }, "{user_agent}");
        }
        assert_eq!(Device::of("my-app/1"), Device::Other("my-app/1".to_owned()));
        let Device::Other(long) = Device::of(&"é".repeat(200)) else { panic!() };
        assert_eq!(long.chars().count(), 61);
    }
}
