//! Phone numbers as people of a country write them, for functions that store what other systems report.

use phonenumber::{
    Mode, PhoneNumber,
    country::{self, Source},
};

use crate::config::{ConfigError, Env};

/// Converts phone numbers to E.164.
pub struct Phones {
    country: Option<country::Id>,
}

impl Phones {
    /// Reads `DEFAULT_COUNTRY`, two letters of ISO 3166-1 such as `US`. Without it numbers stay as they are reported.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let invalid = ConfigError::Invalid {
            name: "DEFAULT_COUNTRY",
            expected: "a country of ISO 3166-1 with two capital letters, such as US",
        };
        let country = env.optional("DEFAULT_COUNTRY").map(str::parse).transpose();
        Ok(Self {
            country: country.map_err(|_| invalid)?,
        })
    }

    /// The number in E.164: one with `+` or the country's international prefix, a national one, or one that lacks only its `+`. Any other text is
    /// returned as it is: an address, a number with an extension, or one that no country has.
    pub fn e164(&self, phone: &str) -> String {
        let Some(country) = self.country else {
            return phone.to_owned();
        };
        let is_plain = |character: char| character.is_ascii_digit() || " +-().\u{a0}/".contains(character);
        if !phone.chars().all(is_plain) {
            return phone.to_owned();
        }
        let international = || valid(None, &format!("+{}", phone.trim()));
        let number = match phone.trim_start().starts_with('+') {
            true => valid(None, phone),
            false => dialed_in(country, phone).or_else(international),
        };
        match number {
            Some(number) => number.format().mode(Mode::E164).to_string(),
            None => phone.to_owned(),
        }
    }
}

fn valid(country: Option<country::Id>, text: &str) -> Option<PhoneNumber> {
    let parsed = phonenumber::parse(country, text).ok();
    parsed.filter(PhoneNumber::is_valid)
}

/// The number that somebody in this country dials.
fn dialed_in(country: country::Id, phone: &str) -> Option<PhoneNumber> {
    let number = phonenumber::parse(Some(country), phone).ok()?;
    if number.code().source() != Source::Idd {
        return Some(number).filter(PhoneNumber::is_valid);
    }
    // Of a number in another country `parse` removes what a national number begins with in this one: of Vienna's, the 1 of the US.
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let code = number.code().value().to_string();
    let mut begins = digits.match_indices(&code);
    begins.find_map(|(begin, _)| valid(None, &format!("+{}", &digits[begin..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(country: &str) -> Phones {
        Phones::from_env(&Env::from_iter([("DEFAULT_COUNTRY", country)])).unwrap()
    }

    #[test]
    fn national_numbers_get_the_code_of_the_default_country() {
        for (country, phone, expected) in [
            ("US", "(510) 345-5686", "+15103455686"),
            ("US", "510.345.5686", "+15103455686"),
            ("US", "15103455686", "+15103455686"),
            ("US", "+1 510 345 5686", "+15103455686"),
            ("US", "011 44 20 7946 0958", "+442079460958"),
            ("US", "442079460958", "+442079460958"),
            // Vienna's numbers begin with the prefix of national numbers in the US, and those of Italy with that of Germany.
            ("US", "+43 1 588580", "+431588580"),
            ("US", "011 43 1 588580", "+431588580"),
            ("US", "431741102033", "+431741102033"),
            ("US", "011 1 510 345 5686", "+15103455686"),
            ("RU", "+81 80 1234 5678", "+818012345678"),
            ("DE", "+39 06 6982", "+39066982"),
            ("DE", "0039 06 6982", "+39066982"),
            ("DE", "+49 (0)30 901820", "+4930901820"),
            ("GB", "020 7946 0958", "+442079460958"),
            ("GB", "00 1 510 345 5686", "+15103455686"),
            ("GB", "15103455686", "+15103455686"),
            ("DE", "030/901820", "+4930901820"),
            ("DE", "0151 23456789", "+4915123456789"),
            // The leading zero of Italian numbers stays.
            ("IT", "06 6982", "+39066982"),
            ("FR", "01.42.68.53.00", "+33142685300"),
            ("BR", "(11) 91234-5678", "+5511912345678"),
            ("IN", "098765 43210", "+919876543210"),
            ("AU", "0412 345 678", "+61412345678"),
            // floere/phony 569, Neamar/KISS 584, joost/phony_rails 126, twentyhq/twenty 25358
            ("CH", "+41 79 123 45 67", "+41791234567"),
            ("AT", "06603123456", "+436603123456"),
            ("SE", "4790909090", "+4790909090"),
            ("SE", "004790909090", "+4790909090"),
            ("FR", "06123456789", "06123456789"),
            ("DE", "030 1234 5678", "+493012345678"),
        ] {
            let phones = of(country);
            let number = phones.e164(phone);
            assert_eq!(number, expected, "{country} {phone}");
            assert_eq!(phones.e164(&number), number, "again");
        }
    }

    #[test]
    fn what_is_no_number_of_any_country_stays_as_it_is() {
        for phone in [
            "+1 510 345 5686 ext. 3",
            "sip:agent-7@example.com",
            "anonymous",
            "",
            "911",
            "123",
            "1-800-FLOWERS",
            "+999999999999",
        ] {
            assert_eq!(of("US").e164(phone), phone);
        }
        let without = Phones::from_env(&Env::from_iter([("DEFAULT_COUNTRY", "")])).unwrap();
        assert_eq!(without.e164("(510) 345-5686"), "(510) 345-5686");
        assert!(Phones::from_env(&Env::from_iter([("DEFAULT_COUNTRY", "Germany")])).is_err());
    }
}
